"""``make run``: the whole product on the embedded graph, in a few minutes.

Train the teachers, the Junior and the baseline, export a bundle, serve it in a process of its own,
ask it over gRPC, and print answers, quality and cost.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.manifest import Manifest
from mulde.client import Client
from mulde.errors import MuldeError
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph, read_folder
from training.evaluate import as_served, popularity
from training.export.export import export
from training.progress import TrainingReport
from training.recipe import Recipe
from training.recipe_file import read_recipe
from training.train import Stage, load_scorer, stages, train_side_by_side

DATA = Path("data/wordnet-core")
RECIPE = Path("models/recipes/best/wordnet-core-32.toml")
RUN = Path("runs/demo")
JOBS = 2
TIMED_CALLS = 200
BATCH = 256

QUESTIONS = (
    ("screwdriver.n.02", "substance_meronym", None),
    ("oslo.n.01", "instance_hypernym", None),
    (None, "hypernym", "big_cat.n.01"),
    ("solar_system.n.01", "member_meronym", None),
    (None, "part_meronym", "ukraine.n.01"),
)
ANSWERS = 4

Quality = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Timings:
    """What a caller waits for, over the network stack of this machine."""

    start_s: float
    single_ms: float
    batch_per_s: float


def main(console: Console | None = None) -> None:
    """Run the demonstration; exit status 1 if the Junior does not keep its promise."""
    console = console or Console()
    started = perf_counter()
    graph, recipe = read_folder(DATA), read_recipe(RECIPE)
    *teachers, junior, baseline = stages(recipe, RUN)
    size = f"{graph.num_entities:,} synsets, {len(graph.train):,} facts"
    console.rule(f"mulde on {graph.name}: {size}")
    RUN.mkdir(parents=True, exist_ok=True)
    (RUN / "recipe.toml").write_bytes(RECIPE.read_bytes())
    cpu = torch.device("cpu")
    with TrainingReport(console) as report:
        train_side_by_side(teachers, recipe, graph, cpu, JOBS, report)
        train_side_by_side([junior, baseline], recipe, graph, cpu, JOBS, report)
    bundle = RUN / "bundle"
    with console.status("exporting the Junior and comparing the bundle with it"):
        manifest = export(junior.folder / "best.pt", DATA, bundle, overwrite=True)
    with (
        console.status("serving and asking"),
        _server(bundle) as (address, start_s),
        Client(address) as client,
    ):
        answers = _answers(client, graph)
        timings = _time(client, graph, start_s)
    console.print(answers)
    table, promise = _quality(graph, manifest, [*teachers, baseline], recipe)
    console.print(table)
    console.print(_numbers(manifest, bundle, timings, perf_counter() - started))
    if promise is not None:
        raise MuldeError(promise)


@contextmanager
def _server(bundle: Path) -> Iterator[tuple[str, float]]:
    """A server process on a free port: its address and the seconds until it answered."""
    command = [sys.executable, "-m", "mulde.cli", "serve", str(bundle)]
    started = perf_counter()
    process = subprocess.Popen(
        [*command, "--grpc-port", "0", "--metrics-port", "-1", "--log-level", "warning"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None, "asked for a pipe"
        line = process.stdout.readline()
        if not line:
            raise MuldeError(f"the server ended with status {process.wait()} before it listened")
        told = json.loads(line)
        yield f"{told['host']}:{told['grpc_port']}", perf_counter() - started
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(client: Client, graph: Graph) -> Table:
    """Ask the questions, and say of each answer whether the model was taught it."""
    table = Table(title="Asked over gRPC", title_justify="left")
    for column in ("question and answers", "prob.", "exact", "the graph"):
        table.add_column(column, overflow="fold")
    sizes = graph.num_entities, graph.num_relations
    taught = KnownFacts.build(graph.train, *sizes)
    held_out = KnownFacts.build(np.concatenate([graph.valid, graph.test]), *sizes)
    for head, relation, tail in QUESTIONS:
        options: Any = {"k": ANSWERS, "exclude_known": False}
        if tail is None:
            found = client.predict_tails(str(head), relation, **options)
        else:
            found = client.predict_heads(relation, tail, **options)
        reciprocal = 0 if tail is None else graph.num_relations
        entity = graph.entity_ids.index(str(head if tail is None else tail))
        query = entity, graph.relation_ids.index(relation) + reciprocal
        table.add_row(f"[bold]({head or '?'}, {relation}, {tail or '?'})[/]")
        for answer in found[0]:
            probability = "" if answer.probability is None else f"{answer.probability:.2f}"
            exact = "yes" if found.exact[0] else "approximate"
            status = "says nothing"
            if answer.row in taught.of(*query):
                status = "taught it"
            elif answer.row in held_out.of(*query):
                status = "[bold green]held it back[/]"
            table.add_row(f"  {escape(answer.label)}", probability, exact, status)
        table.add_section()
    return table


def _time(client: Client, graph: Graph, start_s: float) -> Timings:
    """Median of single queries, and the rate of batches, one caller at a time."""
    heads = [graph.entity_ids[row] for row in graph.test[:, 0]]
    relations = [graph.relation_ids[row] for row in graph.test[:, 1]]
    singles = []
    for place in range(TIMED_CALLS):
        before = perf_counter()
        client.predict_tails(heads[place], relations[place], k=10)
        singles.append(perf_counter() - before)
    batches = []
    for _ in range(10):
        before = perf_counter()
        client.predict_tails(heads[:BATCH], relations[:BATCH], k=10)
        batches.append(perf_counter() - before)
    return Timings(start_s, 1e3 * float(np.median(singles)), BATCH / float(np.median(batches)))


def _quality(
    graph: Graph, manifest: Manifest, others: list[Stage], recipe: Recipe
) -> tuple[Table, str | None]:
    """All models side by side on test, each as it would be served, and which promise is broken."""
    valid, task = (RankingTask.of(graph, split) for split in ("valid", "test"))
    rows: dict[str, Quality] = {"popularity of the answer": popularity(graph, "test")}
    for stage in others:
        scorer, _ = load_scorer(stage.folder / "best.pt", graph)
        name = "baseline: the same without teachers" if stage.name == "baseline" else stage.name
        served = as_served(scorer, graph, recipe, valid)
        rows[f"{name} ({stage.model.dimension}-d)"] = task.quality(served)
    junior = manifest.quality["test"]
    rows[f"Junior, as served ({manifest.dimension}-d)"] = junior
    table = Table(title="Quality on test: filtered, both directions", title_justify="left")
    for column in ("model", "MRR", "Hits@1", "Hits@3", "Hits@10"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, quality in rows.items():
        style = "bold green" if quality is junior else None
        figures = (f"{value:.3f}" for value in quality["total"].values())
        table.add_row(name, *figures, style=style)
    names = list(rows)
    baseline, base = rows[names[-2]]["total"]["mrr"], rows[names[0]]["total"]["mrr"]
    reached = junior["total"]["mrr"]
    if reached < baseline:
        return (
            table,
            f"expected MRR of the baseline, {baseline:.4f}, found {reached:.4f}",
        )
    if reached < 3 * base:
        return table, f"expected 3 times the popularity's {base:.4f}, found {reached:.4f}"
    return table, None


def _numbers(manifest: Manifest, bundle: Path, timings: Timings, seconds: float) -> Table:
    """What it costs."""
    size = sum(file.stat().st_size for file in bundle.iterdir())
    table = Table(title="What it costs", title_justify="left", show_header=False)
    for name, value in (
        ("bundle on disk", f"{size / 1e6:.1f} MB for {manifest.entities:,} entities"),
        ("start of the server", f"{timings.start_s:.2f} s until it listens"),
        ("one query over gRPC", f"{timings.single_ms:.2f} ms (median of {TIMED_CALLS})"),
        (f"batches of {BATCH}", f"{timings.batch_per_s:,.0f} queries a second"),
        ("everything above", f"{seconds:.0f} s"),
        ("serve it yourself", f".venv/bin/mulde serve {bundle}"),
    ):
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    try:
        main()
    except MuldeError as failure:
        Console(stderr=True).print(f"error: {failure}", style="red", markup=False, soft_wrap=True)
        sys.exit(1)

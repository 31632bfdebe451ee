"""One large model and what can be made of it, beside several small teachers: the paper's claim.

    python -m benchmarks.compression run RECIPE --data DIR     # again after an interrupt
    python -m benchmarks.compression page                      # compression.md and .json

Of a recipe with small teachers, ``run`` trains the Junior, its baseline, a 500-d ComplEx with N3,
and the same Junior with that as its one teacher; compresses the finished large model in three ways;
measures all in the same way; and keeps a record in ``benchmarks/records/compression/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import faiss
import torch
import typer
from rich.console import Console

from benchmarks.compression_page import write_page
from benchmarks.compressions import Stored, compressions, microseconds, whole
from benchmarks.record_files import write_json
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph, read_folder
from training.checkpoint import read_checkpoint
from training.evaluate import scores_of
from training.hardware import describe_machine
from training.progress import TrainingReport
from training.recipe import Recipe
from training.recipe_file import read_recipe, variant
from training.scorers import BilinearScorer, Scorer
from training.train import Stage, load_scorer, pick_device, stages, train_stage

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "compression"
LARGE: dict[str, Any] = {
    "scorer": "ComplEx",
    "dimension": 500,
    "score": "bilinear",
    "spread": 0.01,
    "training": {
        "epochs": 20,
        "batch": 500,
        "loss": "cross-entropy",
        "penalty": 0.05,
        "optimiser": "adagrad",
        "rate": 0.1,
        "validate_every": 4,
    },
}

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe with several small teachers.")],
    data: Annotated[Path, typer.Option(help="The graph's folder.")],
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs/compression"),
    records: Annotated[Path, typer.Option(help="Where the record is kept.")] = RECORDS,
) -> None:
    """Train what is missing, compress, measure, and keep the record."""
    read, graph = read_recipe(recipe), read_folder(data)
    alone = variant(read, {"teachers": [LARGE]}, "one large teacher")
    teacher_runs = out / "teachers"
    *several, junior, baseline = stages(read, out / "several", teacher_runs)
    large, pupil, _ = stages(alone, out / "one", teacher_runs)
    with TrainingReport(Console(stderr=True)) as report:
        for stage, its in _order(several, junior, baseline, read, large, pupil, alone):
            train_stage(stage, its, graph, pick_device("cpu"), report)
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    kept: dict[str, Any] = {
        "graph": graph.name,
        "entities": graph.num_entities,
        "recipe": read.name,
        "recipe_sha256": read.digest,
        "machine": describe_machine(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": [],
    }
    for row in _rows(several, junior, baseline, large, pupil, graph):
        kept["rows"].append(row)
        write_json(records / f"{read.name}.json", kept)
        typer.echo(f"{row['title']}: test MRR {row['test']['mrr']:.4f}")


def _rows(
    several: list[Stage], junior: Stage, baseline: Stage, large: Stage, pupil: Stage, graph: Graph
) -> Iterator[dict[str, Any]]:
    yield _row(large, "the large model", [], graph)
    yield from _compressed(large, graph)
    yield _row(pupil, "Junior, taught by the large model", [large], graph)
    yield _row(junior, "Junior, taught by small teachers", several, graph)
    yield _row(baseline, "the same, trained directly", [], graph)
    for teacher in several:
        yield _row(teacher, teacher.name, [], graph)


def _order(
    several: list[Stage],
    junior: Stage,
    baseline: Stage,
    read: Recipe,
    large: Stage,
    pupil: Stage,
    alone: Recipe,
) -> Iterator[tuple[Stage, Recipe]]:
    """Every stage with its recipe, teachers before their pupils."""
    for stage in (*several, junior, baseline):
        yield stage, read
    for stage in (large, pupil):
        yield stage, alone


def _row(stage: Stage, title: str, teachers: list[Stage], graph: Graph) -> dict[str, Any]:
    """What a trained model is worth and costs."""
    scorer, state = load_scorer(stage.folder / "best.pt", graph)
    return {
        "title": title,
        "model": asdict(stage.model),
        "seconds": _seconds(stage),
        "seconds_of_teachers": sum(map(_seconds, teachers)),
        "valid": state["valid"]["total"],
        "test": _quality(scorer, graph, "test"),
        **_costs(whole(scorer)),
    }


def _seconds(stage: Stage) -> float:
    """Of the training loop, up to its last epoch."""
    return float(read_checkpoint(stage.folder / "last.pt")["progress"]["seconds"])


def _quality(scorer: Scorer, graph: Graph, split: str) -> dict[str, float]:
    return RankingTask.of(graph, split).quality(scores_of(scorer))["total"]


def _compressed(large: Stage, graph: Graph) -> Iterator[dict[str, Any]]:
    """The large model in fewer bytes, without any more training."""
    scorer, _ = load_scorer(large.folder / "best.pt", graph)
    assert isinstance(scorer, BilinearScorer), LARGE
    for stored in compressions(scorer):
        yield {
            "title": f"the large model, {stored.title}",
            "model": asdict(large.model),
            "seconds": stored.seconds,
            "valid": _quality(stored.scorer, graph, "valid"),
            "test": _quality(stored.scorer, graph, "test"),
            **_costs(stored),
        }


def _costs(stored: Stored) -> dict[str, float]:
    return {
        "bytes_per_entity": stored.bytes_per_entity,
        "bytes_of_relations": stored.bytes_of_relations,
        "single_us": microseconds(stored, 1),
        "batch_us": microseconds(stored, 256),
    }


@app.command()
def page(
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS,
    into: Annotated[Path, typer.Option(help="The page's folder.")] = HERE,
) -> None:
    """Write the table and the JSON from the records."""
    write_page(records, into)


if __name__ == "__main__":
    app()

"""Seconds and memory of an epoch against the number of entities.

    python -m benchmarks.growth measure ENTITIES      # in a process of its own
    python -m benchmarks.growth page

Random graphs with two triples per entity and 100 relations; RotH-32 with a linear score. Steps are
those of a training without teachers, and of a distillation with one RotH-64 teacher, 100
candidates, chosen every 10 epochs. 60 steps and the choice for 2,048 queries are timed and scaled
to an epoch; seconds are the processor's, on one thread. Kept candidates of the whole graph are not
in the peak memory.
"""

from __future__ import annotations

import resource
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks import charts
from benchmarks.record_files import read_records, write_json
from training.distillation.objective import Distilled, HardLabels
from training.distillation.queries import Batch, CandidateScores, QuerySet, Step
from training.hardware import describe_machine
from training.ops.top_k import IVF_FROM, PROBES
from training.optimiser import Optimiser
from training.recipe import Distillation, ScorerSettings, Training
from training.scorers import Scorer, build_scorer

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "growth"
RELATIONS, STEPS, ASKED = 100, 60, 2048
TRAINING = Training(
    10, 500, negatives=500, negative_weight=100.0, rate=3e-3, schedule="cosine", validate_every=10
)
DISTILLATION = Distillation(candidates=100, ask_every=10, labels="multi-hot", weight="query")
JUNIOR = ScorerSettings("RotH", 32, score="linear", spread=0.05)
TEACHER = ScorerSettings("RotH", 64, spread=0.05)

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def measure(
    entities: Annotated[int, typer.Argument(min=1000)],
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS,
) -> None:
    """Time steps and the choice of candidates at one size, and keep a record."""
    torch.set_num_threads(1)
    triples = np.random.default_rng(0).integers(
        0, [entities, RELATIONS, entities], (2 * entities, 3)
    )
    queries = QuerySet.of(triples.astype(np.int32), RELATIONS, entities)
    found: dict[str, Any] = {
        "entities": entities,
        "triples": len(triples),
        "queries": len(queries),
        "machine": describe_machine(),
        "torch": torch.__version__,
        "search": f"IVF, {PROBES} lists read" if entities >= IVF_FROM else "exact",
    }
    direct = HardLabels(scorer_of(JUNIOR, entities), TRAINING)
    found["direct_epoch_s"] = steps_s(direct, queries) * len(queries) / TRAINING.batch
    with TemporaryDirectory() as folder:
        taught = Distilled(
            scorer_of(JUNIOR, entities),
            TRAINING,
            DISTILLATION,
            [scorer_of(TEACHER, entities)],
            Path(folder),
        )
        build, ask = choice_s(taught, queries)
        steps = steps_s(taught, queries) * len(queries) / TRAINING.batch
    period = DISTILLATION.ask_every
    found["index_s"], found["ask_query_ms"] = build, 1e3 * ask
    found["distilled_epoch_s"] = steps + (build + ask * len(queries)) / period
    found["kept_bytes"] = len(queries) * DISTILLATION.candidates * 7
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    write_json(records / f"{entities}.json", found)
    typer.echo(str(found))


def scorer_of(model: ScorerSettings, entities: int) -> Scorer:
    """A model before its first step."""
    return build_scorer(
        model.scorer,
        entities=entities,
        relations=RELATIONS,
        dimension=model.dimension,
        score=model.score,
        spread=model.spread,
        seed=1,
    )


def choice_s(taught: Distilled, queries: QuerySet) -> tuple[float, float]:
    """Seconds to build the search, and seconds a query to choose and to score candidates."""
    begin = process_time()
    chooser = taught.chooser()
    built = process_time()
    index = torch.linspace(0, len(queries) - 1, ASKED).long()
    for part in index.split(1024):
        chooser(queries.batch(part))
    return built - begin, (process_time() - built) / ASKED


def steps_s(objective: HardLabels, queries: QuerySet) -> float:
    """Seconds of a step, after three that are not timed; candidates are random ones."""
    optimiser = Optimiser(objective, TRAINING, queries)
    draw = torch.Generator().manual_seed(2)
    order = torch.randperm(len(queries), generator=draw)[: (STEPS + 3) * TRAINING.batch]
    entities, begin, done = objective.scorer.num_entities, 0.0, 0
    for batch in queries.batches(order, TRAINING.batch):
        if done == 3:
            begin = process_time()
        negatives = torch.randint(entities, (TRAINING.negatives,), generator=draw)
        chosen = candidates(batch, entities, draw) if isinstance(objective, Distilled) else None
        optimiser.take(Step(batch, negatives, chosen), 3)
        done += 1
    return (process_time() - begin) / (done - 3)


def candidates(batch: Batch, entities: int, draw: torch.Generator) -> CandidateScores:
    """Random candidates, as if they had been chosen and kept."""
    shape = (len(batch.entity), DISTILLATION.candidates)
    rows = torch.randint(entities, shape, generator=draw)
    opinions = torch.randn(shape[0], 1, shape[1], generator=draw)
    return CandidateScores(rows, opinions, torch.zeros(shape, dtype=torch.bool))


@app.command()
def page(
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS,
    into: Annotated[Path, typer.Option(help="The page's folder.")] = HERE,
) -> None:
    """Write growth.md and its chart from the records."""
    kept = sorted(read_records(records), key=lambda one: int(one["entities"]))
    (into / "growth.md").write_text(_text(kept), encoding="utf-8")
    _draw(kept, into / "growth.svg")


def _draw(kept: list[dict[str, Any]], path: Path) -> None:
    """Seconds of an epoch and memory against the number of entities, both axes logarithmic."""
    largest = kept[-1]
    figure = charts.figure_of(
        f"{largest['entities']:,} entities: {largest['direct_epoch_s'] / 60:.0f} minutes an epoch "
        f"without teachers, {largest['distilled_epoch_s'] / 60:.0f} with one",
        10,
        3.8,
    )
    sizes = [one["entities"] for one in kept]
    left = charts.panel_of(figure, (1, 2, 1), "Seconds an epoch, one thread")
    lines = (
        ("without teachers", "direct_epoch_s", charts.BESIDE),
        ("one teacher", "distilled_epoch_s", charts.OURS),
    )
    for _, key, colour in lines:
        left.loglog(sizes, [one[key] for one in kept], "o-", color=colour)
    charts.name_lines(left, [(name, largest[key], colour) for name, key, colour in lines])
    right = charts.panel_of(figure, (1, 2, 2), "Peak memory, MiB")
    memory = [one["peak_bytes"] / 2**20 for one in kept]
    right.semilogx(sizes, memory, "o-", color=charts.OURS)
    right.set_ylim(0, None)
    for panel in (left, right):
        panel.set_xlabel("entities")
    charts.save(figure, path)


def _text(kept: list[dict[str, Any]]) -> str:
    lines = [
        "# An epoch against the number of entities\n",
        *(__doc__ or "").split("\n\n")[2:],
        f"Measured on {kept[0]['machine']}, shared with other work. Written by "
        "`python -m benchmarks.growth page`.\n",
        "| entities | queries | direct, s an epoch | distilled, s an epoch | choosing, ms a query "
        "| search | peak memory, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in kept:
        lines.append(
            f"| {one['entities']:,} | {one['queries']:,} | {one['direct_epoch_s']:,.1f} | "
            f"{one['distilled_epoch_s']:,.1f} | {one['ask_query_ms']:.3f} | {one['search']} | "
            f"{one['peak_bytes'] / 2**20:,.0f} |"
        )
    return "\n".join([*lines, "", "![seconds and memory](growth.svg)", ""])


if __name__ == "__main__":
    app()

"""Whether probabilities and plausibilities hold on test: figures and reliability diagrams.

    python -m benchmarks.calibration add BUNDLE --data DIR    # reads the test split
    python -m benchmarks.calibration page

``add`` keeps a bundle's record in ``benchmarks/records/calibration/``; ``page`` writes
``calibration.md`` and ``docs/images/reliability.svg`` from the records alone.

Shape letters: n triples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import charts
from benchmarks.record_files import read_records, write_json
from mulde.evaluation.calibration import Calibration
from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.reliability import Reliability, auc, reliability
from mulde.graph.graph import Graph, read_folder
from mulde.typing import Float64, Mask, Rows
from serving.engine.engine import Engine
from training.export.calibration.calibrate import TOP, observe_ranked
from training.export.calibration.corruption import corrupt
from training.export.served import Served

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "calibration"
PICTURE = HERE.parent / "docs" / "images" / "reliability.svg"
TRAIN_FACTS = 5000
LEAST_TEST = 100
"""Test triples that a relation needs for an error of its own."""
RELATION_BINS = 10

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def add(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    data: Annotated[Path, typer.Option(help="The graph's folder.")],
) -> None:
    """Measure a bundle and keep its record."""
    graph = read_folder(data)
    with Engine.open(bundle) as engine:
        calibration = engine.bundle.calibration
        assert calibration is not None, "expected a bundle with a calibration"
        served = Served(engine)
        record = {
            "name": bundle.name,
            "graph": graph.name,
            "plausibility": _plausibility(calibration, served, graph),
            "probability": _probability(calibration, served, graph),
        }
    write_json(RECORDS / f"{bundle.name}.json", record)
    typer.echo(f"{bundle.name}: {record['plausibility']}")


def _plausibility(calibration: Calibration, served: Served, graph: Graph) -> dict[str, Any]:
    generator = np.random.default_rng(5)
    some = generator.integers(0, len(graph.train), TRAIN_FACTS)
    facts = graph.test.astype(np.int64)
    wrong, owner = corrupt(graph, facts, generator)

    def of(triples: Rows) -> Float64:
        tails, heads, biases = served.triples(*triples.T)
        return calibration.plausibility(tails, heads, triples[:, 1], biases)

    train, true, false = (of(part) for part in (graph.train[some].astype(np.int64), facts, wrong))
    share = 1 / np.bincount(owner, minlength=len(facts))[owner]
    every, weight = np.concatenate([true, false]), np.concatenate([np.ones(len(true)), share])
    is_true = np.arange(len(every)) < len(true)
    relation = np.concatenate([facts[:, 1], wrong[:, 1]])
    return {
        "train_median": float(np.median(train)),
        "train_above_half": float((train > 0.5).mean()),
        "test_median": float(np.median(true)),
        "corrupted_median": float(np.median(false)),
        "auc": auc(true, false),
        **_errors(every, is_true, weight, relation, graph),
    }


def _probability(calibration: Calibration, served: Served, graph: Graph) -> dict[str, Any]:
    ranked = observe_ranked(RankingTask.of(graph, "test"), served.new_facts, served.no_self_loops)
    top = ranked.place < TOP
    found = calibration.probability(ranked.scores[top], ranked.relation[top], priors=True)
    relation = ranked.relation[top] % graph.num_relations
    return _errors(found, ranked.true[top], np.ones(len(found)), relation, graph)


def _errors(
    found: Float64, true: Mask, weight: Float64, relation: Rows, graph: Graph
) -> dict[str, Any]:
    """Expected calibration error: of all, and the worst of a relation with enough test triples."""
    counts = np.bincount(graph.test[:, 1], minlength=graph.num_relations)
    rows = np.flatnonzero(counts >= LEAST_TEST)
    errors = [
        reliability(found[own], true[own], weight[own], RELATION_BINS).error
        for own in (relation == row for row in rows)
    ]
    every: Reliability = reliability(found, true, weight)
    return {
        "error": every.error,
        "worst_relation": max(errors, default=None),
        "relations": len(rows),
        "predicted": every.predicted.tolist(),
        "observed": every.observed.tolist(),
    }


@app.command()
def page() -> None:
    """Write the table and the picture."""
    records = read_records(RECORDS)
    (HERE / "calibration.md").write_text(_page(records), encoding="utf-8")
    _draw(records)
    typer.echo(f"{len(records)} bundles in {HERE / 'calibration.md'}")


def _page(records: list[dict[str, Any]]) -> str:
    lines = [
        "# Calibration",
        "",
        "On test, at a base rate of .5; fitted on valid alone. A corrupted triple has another tail "
        "of its relation in train; facts are left out, ten are drawn for each test triple. The "
        "expected calibration error (ECE) is that of 15 bins of equal weight; *worst* is the "
        "largest error of a relation with at least 100 test triples, both directions together, in "
        "10 bins or fewer, so that each holds 50 items. "
        "[What a probability means](../docs/explanation/what-a-probability-means.md) explains both "
        "numbers. Written by `python -m benchmarks.calibration page`; not to be edited.",
        "",
        "## Plausibility",
        "",
        "| bundle | train facts: median | above .5 | test facts: median | corrupted: median | AUC "
        "| ECE | worst (relations) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        one = record["plausibility"]
        names = ("train_median", "train_above_half", "test_median", "corrupted_median")
        cells = [f"{one[name]:.3f}" for name in (*names, "auc")]
        lines.append(f"| {record['name']} | {' | '.join(cells)} | {_told(one)} |")
    lines += ["", "## Probability", ""]
    lines += ["| bundle | ECE of the ten best | worst (relations) |", "|---|---|---|"]
    lines += [f"| {record['name']} | {_told(record['probability'])} |" for record in records]
    picture = "![reliability diagrams](../docs/images/reliability.svg)"
    return "\n".join([*lines, "", picture, ""])


def _told(one: dict[str, Any]) -> str:
    worst = "" if one["worst_relation"] is None else f"{one['worst_relation']:.3f}"
    return f"{one['error']:.4f} | {worst} ({one['relations']})"


def _draw(records: list[dict[str, Any]]) -> None:
    """Stated number against observed share, a panel for each kind of number."""
    figure = charts.figure_of(
        "The stated numbers hold on test: the points lie on the diagonal", 9, 5
    )
    titles = {
        "plausibility": "plausibility: true rather than corrupted",
        "probability": "probability: a missing fact of the query",
    }
    for place, (name, title) in enumerate(titles.items(), 1):
        panel = charts.panel_of(figure, (1, 2, place), title)
        panel.set_aspect("equal")
        panel.plot([0, 1], [0, 1], color="0.75", linewidth=1, zorder=0)
        for record, marker in zip(records, "osD^v", strict=False):
            one = record[name]
            panel.plot(
                one["predicted"],
                one["observed"],
                marker,
                markersize=5,
                alpha=0.8,
                label=record["name"],
            )
        panel.set(xlabel=f"{name} that was stated", xlim=(0, 1), ylim=(0, 1))
    figure.axes[0].set_ylabel("share that was true on test")
    figure.axes[0].legend(frameon=False, loc="upper left")
    charts.save(figure, PICTURE)


if __name__ == "__main__":
    app()

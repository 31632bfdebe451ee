"""Tables and charts of ``accuracy.md``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks import charts
from mulde.storage.printable import markdown, printable

PREAMBLE = """# Accuracy

Filtered ranking by train, valid and test; both directions, all triples, realistic ties. The
checkpoint of each run is the best by valid MRR; test was read once, when the run was added.
Seconds are those of the training loop, validations not included, up to the last epoch; a Junior's
do not include its teachers', which have rows of their own; where a machine was shared with other
work, they are upper bounds. What was tried besides is in
docs/explanation/experiments.md. Written by `make accuracy` from `benchmarks/records/`; not to be
edited. Not tested on a GPU.

## Juniors and their baselines

Means over the seeds, with the sample standard deviation where there are several. A baseline is the
same model trained without teachers, with the same schedule. "Scorer alone" compares with published
figures. "New facts" is what is served, with self-loop exclusion and relation priors
(docs/explanation/method.md, "Departures"), alike for Junior and baseline; it is empty where a run
has neither. Valid MRR, and the tables of single runs below, are of what is served; the Senior's,
the teachers' and the charts' figures are of the scorer alone everywhere. The Senior's own MRR is
that of its soft labels, asked about every entity, with the W and the attention of the Junior's best
epoch.
"""

WITH_TEXT = """## With text

A bundle whose entities have further numbers, made of their labels and descriptions alone
(docs/how-to/use-text.md): D is the numbers of the graph and those of text. Compare these rows with
models that read text, and not with the table above. One seed each, of the table as it is served.
"Without text" is the same Junior's valid MRR as served, its text columns left out.
"""

_LOOKS = {"baseline": (charts.BESIDE, -1), "junior": (charts.OURS, 1)}
"""Colour, and the side of a point that its number is written on."""


@dataclass(frozen=True)
class Record:
    """One run: what it was, what it cost, what came of it.

    ``senior`` is the quality of the Senior's own answers, by split, where a Junior was taught.
    ``valid`` and ``test`` are of what is served, with ``self_loops_below`` and
    ``relation_priors``; ``plain`` is the test figure of the scorer alone where those change it, and
    ``curve`` is always of the scorer alone.
    """

    graph: str
    recipe: str
    recipe_sha256: str
    stage: str
    model: dict[str, Any]
    training: dict[str, Any]
    teachers: list[str]
    seed: int
    machine: str
    epochs: int
    best_epoch: int
    seconds: float
    queries_per_s: float
    valid: dict[str, float]
    test: dict[str, float]
    curve: list[tuple[float, float]]
    senior: dict[str, dict[str, float]] | None = None
    self_loops_below: float = 0.0
    relation_priors: int = 0
    plain: dict[str, float] | None = None

    @property
    def name(self) -> str:
        """A file name that no other run has."""
        return f"{self.recipe}-{self.stage}-seed{self.seed}-{self.recipe_sha256[:8]}"


@dataclass(frozen=True)
class TextRecord:
    """One bundle with text columns: ``scorer`` and ``test`` are test figures, alone and as served.

    ``valid`` and ``valid_without_text`` are MRR of what is served.
    """

    graph: str
    recipe: str
    model: str
    dimension: int
    text: int
    valid: float
    valid_without_text: float
    scorer: dict[str, float]
    test: dict[str, float]


def write_page(folder: Path, records: list[Record], texts: list[TextRecord]) -> None:
    """Write ``accuracy.md`` and a picture per graph."""
    parts = [PREAMBLE, _means(records), WITH_TEXT, _with_text(texts)]
    for graph in sorted({record.graph for record in records}):
        mine = [record for record in records if record.graph == graph]
        _draw(folder, graph, mine)
        parts += [
            f"## {markdown(graph)}\n",
            _table(mine),
            f"![test MRR of Juniors and baselines](accuracy-{graph}.svg)\n",
        ]
    (folder / "accuracy.md").write_text("\n".join(parts), encoding="utf-8")


def _means(records: list[Record]) -> str:
    """A row per recipe, Junior or baseline, whatever its seeds."""
    groups: dict[str, list[Record]] = {}
    for r in records:
        if r.stage in ("junior", "baseline"):
            alike = [
                r.graph,
                r.recipe,
                r.model,
                r.training,
                r.teachers,
                r.stage,
                r.self_loops_below,
                r.relation_priors,
            ]
            groups.setdefault(json.dumps(alike, sort_keys=True), []).append(r)
    columns = "graph,recipe,run,D,teachers,seeds,Senior's test MRR,valid MRR"
    for kind in ("scorer alone", "new facts"):
        columns += f",{kind}: test MRR,H@1,H@10"
    rows = []
    for group in groups.values():
        one = group[0]
        figures = [[r.senior["test"]["mrr"] for r in group if r.senior]]
        figures += [[r.valid["mrr"] for r in group]]
        for kept in ([r.plain or r.test for r in group], [r.test for r in group if r.plain]):
            figures += [[r[name] for r in kept] for name in ("mrr", "hits@1", "hits@10")]
        named = [one.graph, one.recipe, _run(one), str(one.model["dimension"])]
        rows.append([*named, str(len(one.teachers)), str(len(group)), *map(_spread, figures)])
    return _rows(columns.split(","), rows)


def _with_text(texts: list[TextRecord]) -> str:
    columns = "graph,recipe,model,D,without text: valid MRR,with text: valid MRR"
    for kind in ("scorer alone", "new facts"):
        columns += f",{kind} with text: test MRR,H@1,H@10"
    rows = []
    for r in texts:
        named = [r.graph, r.recipe, r.model, f"{r.dimension} + {r.text}"]
        figures = [r.valid_without_text, r.valid]
        for kept in (r.scorer, r.test):
            figures += [kept["mrr"], kept["hits@1"], kept["hits@10"]]
        rows.append([*named, *(f"{value:.4f}" for value in figures)])
    return _rows(columns.split(","), rows)


def _run(record: Record) -> str:
    return f"{record.stage} ({record.model['scorer']}, {record.model.get('score', 'distance')})"


def _spread(values: list[float]) -> str:
    several = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{several}" if values else ""


def _rows(names: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(map(markdown, cells)) + " |" for cells in rows]
    return "\n".join(lines) + "\n"


def _table(records: list[Record]) -> str:
    columns = "recipe,run,D,seed,epochs,s,queries/s,valid MRR,test MRR,H@1,H@3,H@10,machine"
    return _rows(columns.split(","), map(_cells, records))


def _cells(r: Record) -> list[str]:
    return [
        f"{r.recipe} {r.recipe_sha256[:8]}",
        _run(r),
        str(r.model["dimension"]),
        str(r.seed),
        f"{r.best_epoch} of {r.epochs}",
        f"{r.seconds:,.0f}",
        f"{r.queries_per_s:,.0f}",
        f"{r.valid['mrr']:.4f}",
        *(f"{value:.4f}" for value in r.test.values()),
        r.machine,
    ]


def _draw(folder: Path, graph: str, records: list[Record]) -> None:
    """Test MRR of the scorer alone: a row per recipe, its Junior beside its baseline."""
    rows = _pairs(_current(records))
    gains = [pair["junior"] - pair["baseline"] for pair in rows.values() if len(pair) == 2]
    message = f"{graph}: teachers add {_least_and_most(gains)} of MRR" if gains else graph
    figure = charts.figure_of(message, 9, 1.6 + 0.45 * len(rows))
    panel = charts.panel_of(figure, (1, 1, 1))
    panel.grid(axis="x", alpha=0.25)
    for place, pair in enumerate(rows.values()):
        values = list(pair.values())
        panel.plot(values, [place] * len(values), color="0.75", linewidth=3, zorder=0)
        for stage, value in pair.items():
            colour, side = _LOOKS[stage]
            panel.plot(value, place, "o", markersize=9, color=colour)
            panel.annotate(
                f"{value:.3f}", (value, place), (side * 10, 0), textcoords="offset points",
                ha="left" if side > 0 else "right", va="center", color=colour,
            )  # fmt: skip
    panel.set_yticks(range(len(rows)), [printable(name) for name in rows])
    panel.set(xlabel="test MRR of the scorer alone", ylim=(len(rows) - 0.4, -0.6))
    panel.margins(x=0.15)
    panel.set_title("Junior, distilled", color=charts.OURS, loc="right")
    panel.set_title("baseline, trained without teachers", color=charts.BESIDE, loc="left")
    charts.save(figure, folder / f"accuracy-{graph}.svg")


def _pairs(records: list[Record]) -> dict[str, dict[str, float]]:
    """By recipe, the best last: means over seeds of Junior and baseline."""
    found: dict[str, dict[str, list[float]]] = {}
    for record in records:
        if record.stage in _LOOKS:
            alone = (record.plain or record.test)["mrr"]
            found.setdefault(record.recipe, {}).setdefault(record.stage, []).append(alone)
    pairs = {
        recipe: {stage: mean(values) for stage, values in stages.items()}
        for recipe, stages in found.items()
    }
    return dict(sorted(pairs.items(), key=lambda one: max(one[1].values())))


def _least_and_most(gains: list[float]) -> str:
    """One number, or the least and the greatest."""
    ends = sorted({f"{min(gains):.3f}", f"{max(gains):.3f}"})
    return " to ".join(ends)


def _current(records: list[Record]) -> list[Record]:
    """Of each recipe the best Junior with all that was trained as it was, and its teachers."""
    best: dict[str, Record] = {}
    for record in records:
        if record.stage in _LOOKS:
            former = best.get(record.recipe, record)
            best[record.recipe] = max(former, record, key=_rank)
    asked = {name for record in best.values() for name in record.teachers}
    return [
        record
        for record in records
        if record.stage in asked
        or (record.stage in _LOOKS and _settings(record) == _settings(best[record.recipe]))
    ]


def _rank(record: Record) -> tuple[bool, float]:
    """Juniors before baselines, then by quality."""
    return record.stage == "junior", record.valid["mrr"]


def _settings(record: Record) -> tuple[object, ...]:
    return record.model, record.training

"""The page of unseen entities, from the records of ``benchmarks/unseen.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import charts

_COLUMNS = (
    "model",
    "facts",
    "query mean: asks",
    "answers",
    "loss of known",
    "placed: asks",
    "answers",
    "loss of known",
    "ratio",
    "ratio at equal loss",
    "known",
    "ms, median",
    "ms, p99",
)
_ROW = "| " + " | ".join(["{}"] * len(_COLUMNS)) + " |"
_HEAD = """# Unseen entities

A tenth of the entities was held out with all their facts; `benchmarks/unseen.py` says how.
"Asks" is the MRR of queries of a held-out entity, "answers" that of queries which it answers, "loss
of known" what the MRR of known entities' facts loses while all held-out ones are candidates. The
query mean is the mean direction of the queries of the context facts, used for both; a placed entity
has another mean as a query and a fitted row as an answer
([new entities](../docs/explanation/new-entities.md)).

"Ratio" is the MRR of both directions of placed entities against that of the query mean. "Ratio at
equal loss" is the same after an offset on the scores of the query means, equal for all of them, at
which known entities lose as much as they lose to placed ones. The strength of the guard is a trade:
a stronger one keeps more of the known answers and finds fewer of the new ones.

Only entities with more facts than the context has are placed, so lines of one model with different
numbers of facts speak of different entities. At most 2,000 facts are ranked for a line.
Milliseconds are processor time of one thread. One seed; models without teachers, text, or relation
priors, and with fewer epochs than the recipes of `models/recipes`. Half of the entities of CoDEx-S
also chose the settings of placing; those of the other graphs did not.
"""


def write_page(target: Path, records: list[dict[str, Any]]) -> None:
    """Write the table of all records and the picture beside it."""
    lines = [_HEAD, _ROW.format(*_COLUMNS), _ROW.format(*["---"] * len(_COLUMNS))]
    lines += [_line(record) for record in records]
    _draw(records, target.with_suffix(".svg"))
    lines += ["", f"![MRR and loss against context facts]({target.stem}.svg)"]
    target.write_text("\n".join(lines) + "\n", "utf-8")


def _draw(records: list[dict[str, Any]], path: Path) -> None:
    """MRR of new entities' facts, and what known ones lose, against the number of context facts."""
    names = sorted({record["name"] for record in records})
    contexts = sorted({record["context"] for record in records})
    figure = charts.figure_of(
        "New entities, placed or as the mean of their facts' queries",
        11,
        3.2 * len(names),
    )
    for row, name in enumerate(names):
        own = sorted(
            (record for record in records if record["name"] == name),
            key=lambda record: record["context"],
        )
        for column, (title, figures) in enumerate(
            (("MRR of facts of new entities", _both), ("MRR that known entities lose", _loss))
        ):
            place = (len(names), 2, 2 * row + column + 1)
            panel = charts.panel_of(figure, place, f"{name}: {title}")
            ends = []
            for way, label, colour in (
                ("placed", "placed", charts.OURS),
                ("query_mean", "query mean", charts.BESIDE),
            ):
                values = [figures(record[way]) for record in own]
                panel.plot([record["context"] for record in own], values, "o-", color=colour)
                ends.append((label, values[-1], colour))
            panel.set(xlabel="context facts", ylim=(0, None), xticks=contexts)
            charts.name_lines(panel, ends)
    charts.save(figure, path)


def _both(way: dict[str, float]) -> float:
    """MRR of both directions."""
    return (way["asks"] + way["answers"]) / 2


def _loss(way: dict[str, float]) -> float:
    return way["known_loss"]


def _line(record: dict[str, Any]) -> str:
    ways = [record["query_mean"], record["placed"]]
    figures = [f"{way[key]:.3f}" for way in ways for key in ("asks", "answers", "known_loss")]
    times = f"{record['median_ms']:.1f}", f"{record['p99_ms']:.1f}"
    figures += [f"{ratio:.2f}" for ratio in _ratios(record)]
    known = f"{record['known']:.3f}"
    return _ROW.format(record["name"], record["context"], *figures, known, *times)


def _ratios(record: dict[str, Any]) -> list[float]:
    """MRR of placed entities against the query mean, as it is and at equal loss."""
    return [_both(record["placed"]) / _both(record[way]) for way in ("query_mean", "equal_loss")]

"""The page and the picture of `benchmarks/load.py`, from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks import charts
from benchmarks.record_files import write_json
from mulde.storage.printable import markdown

Record = dict[str, Any]

PREAMBLE = """# More than the server can answer

Written by `make load` from `benchmarks/records/load/`; not to be edited. The real server process
has one core and the generator another. Calls of 64 queries leave at the moments of a Poisson
process, whatever became of those before, and a latency counts from the moment at which a call was
due. The load is a share of what the server answers when four callers wait for each other's answers.
Goodput is calls answered well, a second, until the last answer.

The server admits `max_concurrent_requests` (64) calls and refuses the others before their messages
are read.
"""

BARS = """Bars: goodput at twice the load at least 90 % of the greatest; 99 % of refused calls are
refused within 20 ms; p99 of accepted calls at twice the load at most 3 times that at 70 %. What a
bar asks and the table misses is missed, by what the table says. Where other programs took more than
a tenth of a core, the figures are of a server that had to share; they settle no bar, neither one
that is met nor one that is missed.
"""


def bars(record: Record) -> dict[str, float]:
    """What the bars are about: share of the greatest goodput, ms to a refusal, growth of p99."""
    by_share = {one["share"]: one for one in record["rates"]}
    calm, double = by_share[0.7], by_share[2.0]
    refused = double["refused_ms"]
    return {
        "goodput_share": double["goodput_per_s"]
        / max(one["goodput_per_s"] for one in record["rates"]),
        "refused_ms_p99": refused["p99"] if refused else float("nan"),
        "accepted_p99_ratio": double["accepted_ms"]["p99"] / calm["accepted_ms"]["p99"],
    }


def write_page(records: Sequence[Record], folder: Path) -> None:
    """Write ``load.json``, ``load.md`` and ``load.svg``."""
    write_json(folder / "load.json", list(records))
    parts = [PREAMBLE, _bars(records), BARS, "![goodput and latency](load.svg)\n"]
    for record in records:
        parts += [f"## {markdown(record['bundle'])}\n", _about(record), _rates(record)]
    (folder / "load.md").write_text("\n".join(parts), encoding="utf-8")
    _draw(records, folder / "load.svg")


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _bars(records: Sequence[Record]) -> str:
    found = [bars(record) for record in records]
    lines = (
        ("goodput at twice the load / the greatest", "≥ 0.90", "goodput_share", ".2f"),
        ("time to refusal at twice the load, p99, ms", "≤ 20", "refused_ms_p99", ".1f"),
        ("p99 of accepted calls at twice the load / at 70 %", "≤ 3", "accepted_p99_ratio", ".2f"),
    )
    names = ["", "bar", *(markdown(record["bundle"]) for record in records)]
    rows = [
        [text, bar, *(format(one[key], form) for one in found)] for text, bar, key, form in lines
    ]
    company = [f"{_others(record):.2f}" for record in records]
    return _table(names, [*rows, ["cores that other programs took, most", "≤ 0.1", *company]])


def _others(record: Record) -> float:
    """Cores of others in the most disturbed run."""
    return float(max(max(one["others_cores"]) for one in record["rates"]))


def _about(record: Record) -> str:
    libraries = ", ".join(f"{name} {number}" for name, number in record["libraries"].items())
    closed = record["closed_loop"]
    return (
        f"{record['entities']:,} entities; {record['rounds']} rounds of {record['seconds']:g} s at "
        f"each rate; {closed['in_flight']} callers in a closed loop: "
        f"{closed['calls_per_s']:.0f} calls a second. Other programs took at most "
        f"{_others(record):.2f} cores during any run.\n\n"
        f"{markdown(record['machine'])}; {libraries}; {record['measured']}.\n"
    )


def _rates(record: Record) -> str:
    names = ["load", "calls/s", "goodput/s", "refused", "accepted, ms: p50", "p99"]
    names += ["refused, ms: p50", "p99", "generator's delay, ms: p99"]
    rows = []
    for one in record["rates"]:
        accepted, refused = (
            [f"{found['p50']:.1f}", f"{found['p99']:.1f}"] if found else ["–", "–"]
            for found in (one["accepted_ms"], one["refused_ms"])
        )
        first = [
            f"{one['share']:.0%}",
            f"{one['offered_per_s']:.0f}",
            f"{one['goodput_per_s']:.0f}",
        ]
        rest = [f"{one['lag_ms_p99']:.1f}"]
        rows.append([*first, f"{one['refused']:.1%}", *accepted, *refused, *rest])
    return _table(names, rows)


def _draw(records: Sequence[Record], path: Path) -> None:
    """Answered calls above, latency below, against offered load; one column for each bundle."""
    figure = charts.figure_of(
        "Offered more than it can answer, the server keeps answering and refuses the rest at once",
        5.8 * len(records),
        6.4,
    )
    for place, record in enumerate(records, 1):
        rates = record["rates"]
        offered = [one["offered_per_s"] for one in rates]
        above = charts.panel_of(figure, (2, len(records), place), record["bundle"])
        above.plot(offered, offered, color="0.75", linewidth=1)
        answered = [one["goodput_per_s"] for one in rates]
        above.plot(offered, answered, marker="o", color=charts.OURS)
        above.set(ylim=(0, 1.2 * max(answered)))
        charts.name_lines(above, [("answered", answered[-1], charts.OURS)])
        above.text(offered[2], offered[2], "offered ", ha="right", va="bottom", color="0.4")
        below = charts.panel_of(figure, (2, len(records), len(records) + place))
        _draw_latency(below, rates)
        below.set(xlabel="offered calls of 64 queries a second")
    figure.axes[0].set_ylabel("calls a second")
    figure.axes[1].set_ylabel("milliseconds, p99")
    charts.save(figure, path)


def _draw_latency(panel: Axes, rates: Sequence[Record]) -> None:
    """The 99th percentile of answered and of refused calls."""
    names = []
    for key, name, colour in (
        ("accepted_ms", "answered", charts.OURS),
        ("refused_ms", "refused", charts.BESIDE),
    ):
        chosen = [one for one in rates if one[key]]
        times = [one[key]["p99"] for one in chosen]
        panel.plot([one["offered_per_s"] for one in chosen], times, marker="o", color=colour)
        names.append((name, times[-1], colour))
    panel.set(ylim=(0, None))
    charts.name_lines(panel, names)

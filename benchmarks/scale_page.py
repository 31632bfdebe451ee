"""The page and the chart of `benchmarks/scale.py`, from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import charts
from benchmarks.record_files import write_json
from mulde.storage.printable import markdown

Record = dict[str, Any]

_BUSY = ("engine", "served")

PAPER = 100_000_000
"""Entities that are estimated, not measured."""

_FIGURES: dict[str, tuple[str, ...]] = {
    "build, s of processor": ("build", "cpu_s"),
    "build, most memory, MB": ("build", "peak_mb"),
    "on disk, MB": ("build", "files"),
    "verify, s": ("engine", "verify_s"),
    "map, s": ("engine", "map_s"),
    "engine, p50, ms": ("engine", "query", "p50_ms"),
    "engine, p99, ms": ("engine", "query", "p99_ms"),
    "server, p50, ms": ("served", "alone", "p50_ms"),
    "server, p99, ms": ("served", "alone", "p99_ms"),
    "server, 4 at once, p99, ms": ("served", "together", "p99_ms"),
    "server, private, MB": ("served", "private_mb"),
    "server, mapped, MB": ("served", "mapped_mb"),
}

_SLOPED = ("build, s of processor", "build, most memory, MB", "on disk, MB")
"""What the same process did at each size, whatever else the machine did: slopes mean something."""

PREAMBLE = """# Scale: latency, memory and time to build, against entities

Written by `make bench-scale` from `benchmarks/records/scale/`; not to be edited. The graphs are
synthetic (`benchmarks.synthetic`): clusters of about 500 whose sizes follow a power law, degrees
that follow another, and relations that move clusters. Such clusters suit an index of cells; a
trained table needs more probes for the same recall. 32 dimensions, 20 relations, as many facts as
entities,
a table of 8 bits a number, 2 sqrt(E) cells of codes of 8 bits, and a 160th of them probed, or as
many as find .99 of the best ten (at 10^4 and 5*10^6 from a fortieth on).

* **Build**: one process makes points, table, names, known facts, cells, measures and digests. Given
  are its seconds of processor, both cores together, and the most memory that it had.
* **Open**: *verify* reads every file, compares its digest and looks at every row; *map* is what
  opening takes after that, as a further process of the same server does it.
* **Engine**: 1,800 single queries, one thread, known facts left out. Recall@10 is against the
  exact search of the whole table, by 128 queries or more.
* **Server**: `--low-memory`, in a control group with a limit, its files dropped from the cache
  before it starts: what it reads of them counts in the group, and can be taken back. One call at
  a time, then 4 at once, all with random names; the callers run on the same two cores. Private is
  what is mapped from no file.
"""

BARS = """Bars at 5 million: build under 15 minutes on 2 cores and within 8 GB; 600 MB on disk;
within a limit of 320 MB, at most 100 MB private; recall@10 at least .99; p99 of a single query
under 10 ms on one core; mapped in under 1 s.
"""


def write_page(records: Sequence[Record], folder: Path) -> None:
    """Write ``scale.md``, ``scale.json`` and ``scale.svg``.

    Args:
        records: complete ones, the smallest first.
        folder: where to.
    """
    write_json(folder / "scale.json", {"records": records, "estimate": estimates(records)})
    _draw(records, folder / "scale.svg")
    parts = [PREAMBLE, _table(records), BARS, _notes(records)]
    parts.append("![latency, memory and time to build](scale.svg)\n")
    parts += [f"## {PAPER // 10**6} million, on paper\n", _paper(records)]
    (folder / "scale.md").write_text("\n".join(parts), encoding="utf-8")


def figures(record: Record) -> dict[str, float]:
    """The numbers that grow with the entities, by their names in the table; nan if not measured."""
    return {name: _at(record, *path) for name, path in _FIGURES.items()}


def _at(record: Record, *path: str) -> float:
    found: Any = record
    for name in path:
        found = found.get(name, {})
    if path[-1] == "files":
        return sum(found.values()) / 1e6 if found else float("nan")
    return float(found) if found != {} else float("nan")


def estimates(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Slope in log-log between the two largest sizes measured, and the figure at ``PAPER``."""
    found = {}
    for name in _SLOPED:
        points = [(record["entities"], figures(record)[name]) for record in records]
        (before, less), (last, more) = [point for point in points if point[1] > 0][-2:]
        slope = float(np.log(more / less) / np.log(last / before))
        found[name] = {"slope": slope, "at": more * (PAPER / last) ** slope}
    return found


def _table(records: Sequence[Record]) -> str:
    heads = ["", *(f"{record['entities']:,}" for record in records)]
    rows = [
        ["cells probed", *(_probed(record) for record in records)],
        ["recall@10", *(_recall(record) for record in records)],
    ]
    columns = [figures(record) for record in records]
    rows += [[name, *(_short(column[name]) for column in columns)] for name in _FIGURES]
    rows.append(["server, peak of its group, MB", *(_peak(record) for record in records)])
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _probed(record: Record) -> str:
    engine = record.get("engine")
    return "–" if engine is None else f"{engine['probes']} of {engine['cells']:,}"


def _recall(record: Record) -> str:
    engine = record.get("engine")
    return "–" if engine is None else f"{engine['recall']:.4f}"


def _peak(record: Record) -> str:
    served = record.get("served")
    if served is None or served["peak_mb"] is None:
        return "–"
    return f"{served['peak_mb']:.0f} of {served['limit_mb']}"


def _short(value: float) -> str:
    """Three digits that count; a dash for what was not measured."""
    if np.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _notes(records: Sequence[Record]) -> str:
    parts = [
        record[part]
        for record in records
        for part in ("build", "engine", "served")
        if part in record
    ]
    machines = "; ".join(sorted({markdown(part["machine"]) for part in parts}))
    last = max(part["measured"][:10] for part in parts)
    files = records[-1]["build"]["files"].items()
    largest = sorted(((size / 1e6, name) for name, size in files), reverse=True)[:4]
    shares = ", ".join(f"`{name}` {size:.0f}" for size, name in largest)
    text = f"{machines}; {last}. Of the largest bundle's megabytes: {shares}.\n"
    busy = [
        f"{record['entities']:,} ({part})"
        for record in records
        for part in _BUSY
        if record.get(part, {}).get("busy")
    ]
    if busy:
        text += f"\nOther work ran beside {', '.join(busy)}: those times are no less than alone.\n"
    return text


def _paper(records: Sequence[Record]) -> str:
    """The estimates, as a table."""
    lines = ["| | slope | estimate |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {one['slope']:.2f} | {_short(one['at'])} |"
        for name, one in estimates(records).items()
    ]
    last = records[-1]
    p99, ratio = last["engine"]["query"]["p99_ms"], PAPER / last["entities"]
    intro = (
        "Not measured. Seconds, memory and bytes of the build follow their slopes in log-log"
        f" between the two largest sizes that were, up to {PAPER:,} entities; but cutting cells by"
        " k-means costs E^1.5 in the end, and at this size their middles would be found in two"
        " levels. A query multiplies 2 sqrt(E) middles and looks at sqrt(E) / 2 rows of each cell"
        f" that is probed. From a p99 of {p99:.1f} ms at {last['entities']:,} that makes"
        f" {p99 * ratio**0.5:.0f} ms where as many cells are probed as there, and"
        f" {p99 * ratio:.0f} ms where as large a share of them is.\n"
    )
    return "\n".join([intro, *lines]) + "\n"


def _draw(records: Sequence[Record], path: Path) -> None:
    """Time of a query, memory, and the time to build and to open, over entities."""
    columns = [figures(record) for record in records]
    last = columns[-1]
    figure = charts.figure_of(
        f"{records[-1]['entities']:,} entities: {last['server, private, MB']:.0f} MB of private "
        f"memory, {last['server, p50, ms']:.0f} ms a query",
        14,
        4,
    )
    groups = {
        "Milliseconds a query": {
            "server, p99": "server, p99, ms",
            "server, p50": "server, p50, ms",
            "engine, p50": "engine, p50, ms",
        },
        "Megabytes": {
            "on disk": "on disk, MB",
            "server, private": "server, private, MB",
            "building": "build, most memory, MB",
        },
        "Seconds": {
            "to build": "build, s of processor",
            "to verify": "verify, s",
            "to map": "map, s",
        },
    }
    colours = (charts.OURS, charts.BESIDE, charts.OTHERS)
    entities = [record["entities"] for record in records]
    for place, (title, lines) in enumerate(groups.items(), 1):
        panel = charts.panel_of(figure, (1, 3, place), title)
        for key, colour in zip(lines.values(), colours, strict=True):
            panel.loglog(entities, [one[key] for one in columns], marker="o", color=colour)
        panel.set(xlabel="entities")
        ends = zip(lines.items(), colours, strict=True)
        charts.name_lines(panel, [(name, last[key], colour) for (name, key), colour in ends])
    charts.save(figure, path)

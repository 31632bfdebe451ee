"""The page and the picture of `benchmarks/index.py`, from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import charts
from benchmarks.record_files import write_json
from mulde.storage.printable import markdown

Record = dict[str, Any]

PRODUCT, SQFP16 = "the bare product, float32", "FAISS SQfp16"
_RECALL = 0.99
_WORDNET = 100_000
"""Entities from which the goals are those of the full WordNet."""
OURS = "mulde, certified exact"

PREAMBLE = """# The index beside others and the limits

Written by `make bench-index` from `benchmarks/records/index/`; not to be edited. The ten best
answers to the same 512 queries over the same table, on one thread: every relation in turn in both
directions, entities at random. What is mulde's begins with rows of entity and relation, encodes
them, searches, and says which answers are certain; the others are handed the encoded queries.
No names are looked up. All take turns within one run, and ratios are taken within a turn: figures
are medians over turns, (least to greatest) behind them. Absolute figures are of the small virtual
machine that each section names.

Recall is the share of answers that score as high as the tenth best of exhaustive scoring. *Certain*
is the share of answers that the certificate calls exact. An approximate search returns its first
results; of the IVF searches, the one with the fewest lists that finds 99 % is shown.
"""

BARS = """Met and missed are said of the medians. The product of the last bars is float32 by numpy's
BLAS on one thread, for 256 queries into a buffer that is used again. `predict_target` takes one
query at a time, in a batch too, so that its rate is that of single queries; `predict_t` is what a
model of PyKEEN offers for batches. DistMult is the cheapest model there is, MuRE the nearest to
mulde's (a squared distance and two biases); both have the bundle's entities and dimensions. hnswlib
is asked in its space of inner products as it comes; where its recall is low, its time compares with
nothing here. A change of the table to a space that suits its graph better was not tried.
"""


def write_page(records: Sequence[Record], folder: Path) -> None:
    """Write ``index.json``, ``index.md`` and ``index.svg``."""
    write_json(folder / "index.json", list(records))
    parts = [PREAMBLE, _bars(records), BARS, "![microseconds of a query](index.svg)\n"]
    for record in records:
        parts += [f"## {markdown(record['bundle'])}\n", _about(record), _contenders(record)]
        if record["peers"]:
            parts.append(_peers(record))
        parts.append(_limits(record))
    (folder / "index.md").write_text("\n".join(parts), encoding="utf-8")
    _draw(records, folder / "index.svg")


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _of(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return f"{np.median(values):{form}} ({low} to {high})"


def _named(record: Record, name: str) -> Record:
    (found,) = (one for one in record["contenders"] if one["name"] == name)
    whole: Record = found
    return whole


def _exact(record: Record) -> Record:
    """The engine with the bundle's own index."""
    return _named(record, f"engine ({record['index']}), exact")


def _approximate(record: Record) -> Record:
    """Of what is mulde's and finds enough, the quickest for one query."""
    able = [one for one in record["contenders"] if one["group"] == "mulde" and one["recall"]]
    able = [one for one in able if one["recall"] >= _RECALL]
    quickest: Record = min(able, key=lambda one: one["single_us"]["median"])
    return quickest


def _ratios(one: Record, other: Record, column: str) -> list[float]:
    pairs = zip(one["rounds"][column], other["rounds"][column], strict=True)
    return [a / b for a, b in pairs]


def _bars(records: Sequence[Record]) -> str:
    names = ["", "bar", *(markdown(record["bundle"]) for record in records)]
    columns = [_judged(record) for record in records]
    rows = []
    for what in dict.fromkeys(what for column in columns for what in column):
        cells = [column.get(what, ("", "")) for column in columns]
        bar = next(bar for bar, _ in cells if bar)
        rows.append([what, bar, *(text for _, text in cells)])
    return table(names, rows)


def _judged(record: Record) -> dict[str, tuple[str, str]]:
    """Bar by bar: what it asks, and what was found."""
    exact, quick = _exact(record), _approximate(record)
    single = _ratios(exact, _named(record, SQFP16), "single_us")
    batch = _ratios(exact, _named(record, PRODUCT), "batch_us")
    found = {
        "one query, certified exact / FAISS SQfp16": _most(single, 1.1),
        "256 queries, certified exact / the bare product": _most(batch, 1.5),
    }
    if record["entities"] >= _WORDNET:
        found["goal for WordNet: one query, certified exact / FAISS SQfp16"] = _most(single, 0.5)
    else:
        times = exact["rounds"]["single_us"], quick["rounds"]["single_us"]
        found["goal for WN18RR: one query, certified exact, µs"] = _most(times[0], 80, ".0f")
        what = "goal for WN18RR: one query, approximate at recall ≥ .99, µs"
        found[what] = _most(times[1], 60, ".0f")
    for peer in record["peers"]:
        if peer["name"] != "PyKEEN":
            continue
        call, alone = peer["call"], peer["alone_ms"] * 1e3
        if "predict_target" in call:
            ratios = [alone / one for one in exact["rounds"]["single_us"]]
            found[f"one query, PyKEEN {markdown(call)} / mulde"] = _least(ratios)
            ratios = [alone / one for one in exact["rounds"]["batch_us"]]
            found[f"256 queries, PyKEEN {markdown(call)} / mulde"] = _least(ratios)
        else:
            rate = peer["queries_per_s"]
            ratios = [1e6 / one / rate for one in exact["rounds"]["batch_us"]]
            found[f"256 queries, mulde / PyKEEN {markdown(call)}, queries a second"] = _least(
                ratios
            )
    return found


def _most(values: Sequence[float], bar: float, form: str = ".2f") -> tuple[str, str]:
    verdict = "met" if np.median(values) <= bar else "missed"
    return f"≤ {bar:g}", f"{_of(values, form)}, {verdict}"


def _least(values: Sequence[float], bar: float = 1000) -> tuple[str, str]:
    verdict = "met" if np.median(values) >= bar else "missed"
    return f"≥ {bar:,.0f}", f"{_of(values, ',.0f')}, {verdict}"


def _about(record: Record) -> str:
    facts = "with" if record["known_facts"] else "without"
    libraries = ", ".join(f"{name} {number}" for name, number in record["libraries"].items())
    return (
        f"{record['entities']:,} entities, {record['relations']} relations, "
        f"{record['dimension']} dimensions in a table {record['width']} wide, index "
        f"{record['index']}, {facts} known facts; {record['rounds']} turns of "
        f"{record['seconds']:g} s each.\n\n"
        f"{markdown(record['machine'])}; {libraries}; {record['measured']}.{note(record)}\n"
    )


def note(record: Record) -> str:
    """What else the machine did, as a sentence to append."""
    return f" {markdown(record['note'])}" if record["note"] else ""


def _contenders(record: Record) -> str:
    rows = []
    for one in record["contenders"]:
        if one["group"] == "limit":
            continue
        recall = "" if one["recall"] is None else f"{one['recall']:.4f}"
        sure = "" if one["certified"] is None else f"{one['certified']:.4f}"
        whose = "mulde: " if one["group"] == "mulde" else ""
        cells = _of(one["rounds"]["single_us"], ".0f"), _of(one["rounds"]["batch_us"], ".1f")
        rows.append([whose + markdown(one["name"]), recall, sure, *cells])
    names = ["ten best", "recall@10", "certain", "one query, µs", "of 256 at once, µs each"]
    return table(names, rows)


def _peers(record: Record) -> str:
    rows = []
    for peer in record["peers"]:
        name = f"{peer['name']} {peer['version']}, {peer['call']}"
        recall = f"{peer['recall']:.4f}" if "recall" in peer else ""
        many = f"{peer['queries_per_s']:,.1f}" if "queries_per_s" in peer else "one at a time only"
        rows.append([markdown(name), recall, f"{peer['alone_ms']:.3f}", many])
    names = ["peers, one thread", "recall@10", "one query, ms", "in a batch: queries/s"]
    return table(names, rows)


def _limits(record: Record) -> str:
    rows = [
        [one["name"], _of(one["rounds"]["single_us"], ".1f"), _of(one["rounds"]["batch_us"], ".1f")]
        for one in record["contenders"]
        if one["group"] == "limit"
    ]
    stream, call = record["stream_gb_per_s"], record["empty_call_us"]
    rows.append(["an empty call over gRPC", f"{call['median']:.0f}", ""])
    told = f"One thread reads {stream['median']:.1f} GB/s from memory.\n"
    return table(["limits", "one query, µs", "of 256 at once, µs each"], rows) + "\n" + told


def _draw(records: Sequence[Record], path: Path) -> None:
    """Microseconds of a query in a batch: ours, and what else gives the same ten answers."""
    found = [_microseconds(record) for record in records]
    ratios = [times["FAISS Flat"] / times[OURS] for times in found]
    figure = charts.figure_of(
        f"mulde's exact search in batches takes 1/{min(ratios):.0f} to 1/{max(ratios):.0f} "
        "of the time of FAISS Flat",
        10,
        1 + 2.2 * len(records),
    )
    for place, (record, times) in enumerate(zip(records, found, strict=True), 1):
        title = f"{record['bundle']}: {record['entities']:,} entities"
        panel = charts.panel_of(figure, (len(records), 1, place), title)
        colours = [charts.OURS if name.startswith("mulde") else charts.OTHERS for name in times]
        bars = panel.barh(list(times), list(times.values()), color=colours)
        panel.bar_label(bars, [f"{time:,.0f} µs" for time in times.values()], padding=4)
        panel.set(xscale="log", xlim=(1, 1e5))
        panel.grid(axis="x", alpha=0.25)
        panel.invert_yaxis()
    figure.axes[-1].set_xlabel("microseconds a query, many at once, one thread (logarithmic)")
    charts.save(figure, path)


def _microseconds(record: Record) -> dict[str, float]:
    """Time of a query in a batch of what finds the ten best; the quickest first."""
    shown = {
        "int8, exact": OURS,
        "FAISS Flat": "FAISS Flat",
        "FAISS SQfp16": "FAISS, half precision",
        "NumPy: product, ten best": "NumPy product and selection",
    }
    found = {
        shown[one["name"]]: one["batch_us"]["median"]
        for one in record["contenders"]
        if one["name"] in shown
    }
    for peer in record["peers"]:
        rate, name = peer.get("queries_per_s"), f"{peer['name']} {peer['call'].split(':')[0]}"
        if rate and peer.get("recall", 1) >= _RECALL:
            found[name] = 1e6 / rate
    return dict(sorted(found.items(), key=lambda one: one[1]))

"""The page and the picture of `benchmarks/serving.py`, from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import charts
from benchmarks.record_files import write_json
from mulde.storage.printable import markdown

Record = dict[str, Any]

PREAMBLE = """# The server's speed and memory

Written by `make bench-serving` from `benchmarks/records/serving/`; not to be edited. The real
server process on a real port; the caller is another process on the same cores, sends requests that
were serialised beforehand and leaves the answers undecoded. Answers carry ids, labels, scores and
probabilities of the ten best. What is compared alternates within one run, and each ratio is taken
within a round: figures are medians over rounds, (least to greatest) behind them. Absolute figures
are of a small virtual machine; the ratios are what travels.

The bare product is [B, W] x [W, E] in float32 by numpy's BLAS on one thread, with the table of the
bundle, into a buffer that is used again: the fastest of those tried here. The plain loop is a
product by ONNX Runtime and the ten best of it by numpy. Neither knows names, known facts, an
encoder or a certificate.
"""

BARS = """Bars: one query at most 1.4 empty calls; the engine at least 70 % and the server at least
50 % of the bare product in batches of 256; two workers at least 1.7 times one; a start in under
1.5 s; p99 during reloads at most 3 times the p99 before. What a bar asks and a table misses is
missed: the tables say by how much. Above some size of the result the product waits for memory, so
that 64 queries at a time are quicker than 256; beside its best rate the shares are smaller. Two
bare products at once, which share nothing but memory, say what a second core adds at most.
"""


def write_page(
    records: Sequence[Record],
    folder: Path,
    search: Record | None = None,
    former: Sequence[Record] = (),
) -> None:
    """Write ``serving.json``, ``serving.md`` and ``serving.svg``.

    Args:
        records: of ``benchmarks.serving``, one for each bundle.
        folder: where to.
        search: of ``benchmarks.search``, if there is one.
        former: of ``benchmarks.former``, if there are any.
    """
    write_json(folder / "serving.json", list(records))
    parts = [PREAMBLE, _bars(records), BARS, "![share of the bare product](serving.svg)\n"]
    for record in records:
        parts += [f"## {markdown(record['bundle'])}\n", _about(record), _latency(record)]
        parts += [_batches(record), _others(record)]
    parts += [] if search is None else [_search(search)]
    parts += [write_former(record) for record in former]
    (folder / "serving.md").write_text("\n".join(parts), encoding="utf-8")
    _draw(records, folder / "serving.svg")


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _of(spread: dict[str, float], form: str = ".2f") -> str:
    low, high = format(spread["least"], form), format(spread["most"], form)
    return f"{spread['median']:{form}} ({low} to {high})"


def _bars(records: Sequence[Record]) -> str:
    names = ["", "bar", *(markdown(record["bundle"]) for record in records)]
    wide = [record["batches"]["256"] for record in records]
    workers = [record["workers"] for record in records]
    rows = [
        [
            "one query / an empty call, p50",
            "≤ 1.4",
            *(_of(r["alone"]["ratio_p50"]) for r in records),
        ],
        ["engine / bare product, 256", "≥ 0.70", *(_of(w["engine_share"]) for w in wide)],
        [
            "server / bare product, 256, the better of 1 and 2 calls at once",
            "≥ 0.50",
            *(_of(w["rpc_share"]) for w in wide),
        ],
        ["2 workers / 1, batches of 256", "≥ 1.7", *(_of(w["ratio"]) for w in workers)],
        [
            "2 bare products at once / 1",
            "",
            *(_of(w["machine"]) if "machine" in w else "not measured" for w in workers),
        ],
        ["start to first answer, s", "< 1.5", *(_of(r["start"]["seconds"]) for r in records)],
        ["p99 with reloads / before", "≤ 3", *(f"{r['reload']['ratio_p99']:.2f}" for r in records)],
    ]
    return _table(names, rows)


def _about(record: Record) -> str:
    facts = "with" if record["known_facts"] else "without"
    libraries = ", ".join(f"{name} {number}" for name, number in record["libraries"].items())
    return (
        f"{record['entities']:,} entities, {record['relations']} relations, "
        f"{record['dimension']} dimensions, index {record['index']}, {facts} known facts, "
        f"{record['bytes'] / 1e6:.1f} MB on disk; {record['rounds']} rounds. "
        f"Memory of the server with the model: {record['memory']['private_mb']:.0f} MB private, "
        f"{record['memory']['shared_mb']:.0f} MB shared.\n\n"
        f"{markdown(record['machine'])}; {libraries}; {record['measured']}.\n"
    )


def _latency(record: Record) -> str:
    rows = [
        ("an empty call", record["alone"]["empty"]),
        ("one query", record["alone"]["query"]),
        ("one query, before reloads", record["reload"]["before"]),
        (f"one query, during {record['reload']['swaps']} reloads", record["reload"]["during"]),
    ]
    names = ["one call at a time, ms", "p50", "p95", "p99"]
    return _table(names, [[name, *(f"{v:.2f}" for v in found.values())] for name, found in rows])


def _batches(record: Record) -> str:
    columns = {
        "product": "bare product",
        "ort_loop": "plain loop",
        "engine": "engine",
        "rpc": "server",
        "rpc_2_in_flight": "server, 2 calls at once",
    }
    rows = [
        [size, *(f"{found[name]['median']:,.0f}" for name in columns)]
        for size, found in record["batches"].items()
    ]
    return _table(["queries a second in batches of", *columns.values()], rows)


def _others(record: Record) -> str:
    wide, lone = record["batches"]["256"], record["batches"]["1"]
    rows = [
        [
            "mulde, engine alone",
            f"{1e3 / lone['engine']['median']:.2f}",
            f"{wide['engine']['median']:,.0f}",
        ],
        [
            "mulde, server with names",
            f"{record['alone']['query']['p50_ms']:.2f}",
            f"{wide['rpc']['median']:,.0f}",
        ],
        [
            "ONNX Runtime loop by hand",
            f"{1e3 / lone['ort_loop']['median']:.2f}",
            f"{wide['ort_loop']['median']:,.0f}",
        ],
    ]
    for peer in record["peers"]:
        name = f"{peer['name']} {peer['version']}, {peer['call']}"
        many = f"{peer['queries_per_s']:,.0f}" if "queries_per_s" in peer else "one at a time only"
        rows.append([markdown(name), f"{peer['alone_ms']:.2f}", many])
    return _table(
        ["ten best tails, same size, one thread", "one query, ms", "256: queries/s"], rows
    )


def _search(record: Record) -> str:
    kinds = {
        "beginnings": "beginnings of 3 to 11 letters",
        "misspelt": "labels with one letter wrong",
        "whole": "whole labels",
    }
    rows = [
        [name, f"{one['queries_per_s']:,.0f}", f"{one['alone_ms']:.2f}"]
        for kind, name in kinds.items()
        for one in [record["found"][kind]]
    ]
    size = sum(record["bytes"].values()) / record["labels"]
    return (
        f"## SearchEntities\n\n{record['labels']:,} labels made up to look like names "
        f"(`benchmarks/synthetic_labels.py`), "
        f"{record['letters']:.0f} letters each; ids, labels and their "
        f"index take {size:.0f} bytes a label on disk and are mapped. The server runs on one core "
        f"and gives ten entities for each query. {record['hits']:.1%} of 2,048 labels with one "
        f"letter wrong are among the first five found. Bars: 95 %, and 1,000 queries a second.\n\n"
        f"{markdown(record['machine'])}; {record['measured']}.\n\n"
        + _table(["typed", "queries a second in calls of 32", "one query a call, ms"], rows)
    )


def write_former(record: Record) -> str:
    """The section of one record of ``benchmarks.former``."""
    engine, port = record["engine"], record["port"]
    ratios = {
        "engine, {} / the earlier engine": "now / former",
        "engine, {} / FAISS Flat": "now / flat",
        "engine, {} / bare product": "now / product",
    }
    sizes = {"1": "one query", "256": "256 queries"}
    rows = [
        [title.format(sizes[size]), "", _of(found[key])]
        for title, key in ratios.items()
        for size, found in engine.items()
        if (key, size) != ("now / product", "1")
    ]
    rows += [
        [f"{title}, {workers} worker{'s' * (workers != '1')}", *_both(found, key, form, factor)]
        for title, key, form, factor in (
            ("one query at the port, ms", "one query, s", ".2f", 1e3),
            ("one query / an empty call", "one / empty", ".2f", 1.0),
            ("queries a second in batches of 256", "queries a second", ",.0f", 1.0),
        )
        for workers, found in port.items()
    ]
    return (
        f"## {markdown(record['bundle'])}, beside an earlier version\n\n"
        f"Commit {record['former']} with the bundle of its own checkout, in the same run "
        f"(`benchmarks/former.py`), {record['rounds']} rounds. {markdown(record['machine'])}; "
        f"{record['measured']}.\n\n" + _table(["", "earlier", "now"], rows)
    )


def _both(found: Record, key: str, form: str, factor: float) -> list[str]:
    return [
        _of({name: value * factor for name, value in found[f"{version}: {key}"].items()}, form)
        for version in ("former", "now")
    ]


def _draw(records: Sequence[Record], path: Path) -> None:
    """Queries a second relative to the bare product by batch size, one panel for each bundle."""
    best = [_shares(record, "rpc")[-1] for record in records]
    most = max(records[0]["batches"], key=int)
    shares = dict.fromkeys(f"{share:.2f}" for share in (min(best), max(best)))
    figure = charts.figure_of(
        f"In batches of {most} the server answers {' to '.join(shares)} times as many queries as a "
        "bare fp32 product",
        5.6 * len(records),
        4,
    )
    lines = (
        ("engine", "engine", charts.OURS),
        ("server", "rpc", charts.BESIDE),
        ("ONNX Runtime and NumPy", "ort_loop", charts.OTHERS),
    )
    for place, record in enumerate(records, 1):
        panel = charts.panel_of(figure, (1, len(records), place), record["bundle"])
        sizes = list(record["batches"])
        for _, column, colour in lines:
            panel.plot(sizes, _shares(record, column), marker="o", color=colour)
        panel.axhline(1, color="0.4", linewidth=1)
        panel.set(xlabel="queries in a batch", ylim=(0, None))
        ends = [(name, _shares(record, column)[-1], colour) for name, column, colour in lines]
        charts.name_lines(panel, [*ends, ("bare product", 1.0, "0.3")])
    figure.axes[0].set_ylabel("queries a second / those of the bare product")
    charts.save(figure, path)


def _shares(record: Record, column: str) -> list[float]:
    """By batch size: queries a second of one column, divided by those of the bare product."""
    found = record["batches"].values()
    return [one[column]["median"] / one["product"]["median"] for one in found]

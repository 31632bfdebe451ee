"""The page of `benchmarks/predict.py`, from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.index_page import note, table
from benchmarks.record_files import write_json
from mulde.storage.printable import markdown

Record = dict[str, Any]

_BAR = 0.6

PREAMBLE = """# Batch prediction

Written by `make bench-predict` from `benchmarks/records/predict/`; not to be edited. The command
`mulde predict` as users run it, on all cores, k = 10, every answer certified, Parquet to Parquet:
from the start of the interpreter to the whole file of answers. Questions are random, half of them
ask for the head. The product is [B, W] x [W, E] in float32 by numpy's BLAS on all cores, the
quickest of 64 and 256 queries at a time, by one process with a thread for each core and by a
process for each core. Both take turns; the ratio is taken within a turn, figures are medians,
(least to greatest) behind them. Memory is the greatest of all processes together, what they share
counted once, looked at five times a second.
"""


def write_page(records: Sequence[Record], folder: Path) -> None:
    """Write ``predict.json`` and ``predict.md``."""
    write_json(folder / "predict.json", list(records))
    parts = [PREAMBLE, _rates(records)]
    if any(record["completion"] for record in records):
        parts.append(_completions(records))
    parts += [_about(record) for record in records]
    (folder / "predict.md").write_text("\n".join(parts), encoding="utf-8")


def _of(spread: dict[str, float], form: str) -> str:
    low, high = format(spread["least"], form), format(spread["most"], form)
    return f"{spread['median']:{form}} ({low} to {high})"


def _rates(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        found = record["columns"]
        verdict = "met" if found["share"]["median"] >= _BAR else "missed"
        rows.append(
            [
                markdown(record["bundle"]),
                f"{record['queries']:,}",
                _of(found["predict"], ",.0f"),
                _of(found["product"], ",.0f"),
                f"{_of(found['share'], '.2f')}, {verdict}",
                _of(found["peak_mb"], ",.0f"),
                f"{record['answers_mb']:,.0f}",
            ]
        )
    names = ["bundle", "queries", "mulde predict, queries/s", "the product, queries/s"]
    names += [f"share; bar ≥ {_BAR:.2f}", "peak memory, MB", "answers, MB"]
    return table(names, rows)


def _completions(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        if found := record["completion"]:
            rows.append(
                [
                    markdown(record["bundle"]),
                    f"{found['probability']:g}",
                    f"{found['questions']:,}",
                    f"{found['candidates']:,}",
                    f"{found['facts']:,}",
                    f"{found['seconds']:.1f}",
                    f"{found['candidates'] / found['seconds'] / 1e6:,.0f}",
                    f"{found['peak_mb']:,.0f}",
                ]
            )
    names = ["`--complete`", "least probability", "questions", "candidate facts", "found"]
    names += ["seconds", "million candidates/s", "peak memory, MB"]
    return table(names, rows)


def _about(record: Record) -> str:
    facts = "with" if record["known_facts"] else "without"
    libraries = ", ".join(f"{name} {number}" for name, number in record["libraries"].items())
    return (
        f"{markdown(record['bundle'])}: {record['entities']:,} entities, {record['relations']} "
        f"relations, {record['dimension']} dimensions, index {record['index']}, {facts} known "
        f"facts; {record['rounds']} turns, {record['cores']} processes. "
        f"{markdown(record['machine'])}; {libraries}; {record['measured']}.{note(record)}\n"
    )

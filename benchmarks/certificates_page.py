"""The page of `benchmarks/certificates.py`, from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mulde.storage.printable import markdown

WITHIN = 100
"""Rows of the bar."""

BAR = 0.99
"""Share of answers that certify within them, with a linear score, searched as the table is."""

Record = dict[str, Any]

PREAMBLE = f"""# How often answers are certain

Written by `make bench-certificates` from `benchmarks/records/certificates/`; not to be edited. An
answer is certain when nothing that was not fetched can belong to it
(docs/explanation/architecture.md, `serving/engine/retriever.py`). For each kind of index,
over queries with every relation in turn in both directions and entities at random,
ten answers each:

* *certain at once*: the share of answers that are, without being asked for exactness, and *found*,
  the share of answers that score as high as the tenth best of exhaustive scoring (recall@10);
* *fetched*: how many rows that scored in float64;
* *within {WITHIN}*: the share that is certain after {WITHIN} rows at most, where exactness is asked
  for; and *needed*: how many rows were fetched then. FAISS gives the best few and no more, so its
  kinds ask for 64 rows, then 512, 4,096, and so on: the last look's number is given;
* microseconds of one query alone on one thread without the encoder, as it comes and exact.

Shares and rows are counted, and the same on any machine with the same range of bytes (kind `int8`,
docs/explanation/architecture.md);
times are medians on the machine that is named, with other work beside them.
"""


def text(records: Sequence[Record]) -> str:
    """The page."""
    return "\n".join([PREAMBLE, _bar(records), *(_section(record) for record in records)])


def bar_of(record: Record) -> tuple[str, float] | None:
    """The kind that reads the table and its share within the rows; None where no bar was set."""
    if record["score"] != "linear":
        return None
    (one,) = (one for one in record["kinds"] if one["name"].startswith("table"))
    return one["name"], one["certified_within"]


def _bar(records: Sequence[Record]) -> str:
    intro = f"The bar (set for fp16): a linear score, {BAR:.0%} of answers within {WITHIN} rows."
    lines = [f"{intro}\n"]
    for record in records:
        found = bar_of(record)
        if found is not None:
            met = "met" if found[1] >= BAR else "missed"
            name = f"{markdown(record['bundle'])}, {record['precision']}"
            lines.append(f"* {name}, {found[0]}: {found[1]:.2%}, {met}")
    return "\n".join(lines) + "\n"


def _section(record: Record) -> str:
    about = (
        f"{record['family']}, {record['dimension']} numbers for each of {record['entities']:,} "
        f"entities in {record['precision']}, score {record['score']}; {record['queries']:,} "
        f"queries, bundle {record['digest']}. {record['machine']}, {record['measured'][:10]}."
    )
    names = (
        "index", "certain at once", "found", "fetched: median, 90 %, 99 %, most",
        f"within {WITHIN}", "needed: median, 90 %, 99 %, most", "µs", "exact, µs",
    )  # fmt: skip
    lines = [names, ["---"] * len(names), *(_row(one) for one in record["kinds"])]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## {markdown(record['bundle'])}\n\n{about}\n\n{table}\n"


def _row(one: Record) -> list[str]:
    times = (f"{one[name]:.0f}" if name in one else "" for name in ("single_us", "exact_us"))
    return [
        one["name"],
        f"{one['certified']:.2%}",
        f"{one['recall']:.4f}",
        _rows(one["fetched"]),
        f"{one['certified_within']:.2%}",
        _rows(one["needed"]),
        *times,
    ]


def _rows(spread: dict[str, int]) -> str:
    return ", ".join(f"{count:,}" for count in spread.values())

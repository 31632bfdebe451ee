"""``compression.md`` and ``compression.json`` from the records of ``benchmarks.compression``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.record_files import read_records, write_json
from mulde.storage.printable import markdown

PREAMBLE = """# One large teacher, compression, or several small teachers

The paper says that several low-dimensional teachers replace the high-dimensional one. Here both
are trained by the same code: a 500-d ComplEx with N3, a Junior that is taught by it alone, and
the Junior of the recipe with its small teachers. The finished large model also stands here
compressed without any more training: 8 bits a number, product quantisation (PQ), and its 32
principal components (PCA).

Filtered ranking by train, valid and test; both directions, all triples, realistic ties, of the
trained scorers themselves, with self-loops and without relation priors; each checkpoint is the best
by valid MRR, and test was read once. One seed. Seconds are those of training loops, validations not
included; of a Junior, its own and then its teachers' with them. Bytes are those of an entity's
numbers and of all else, without names and biases. Microseconds are those of a FAISS index of the
stored form that finds the ten best, on one thread: one query at a time, and 256 at once; the
query's own vector is not counted. ComplEx counts real numbers. Written by `python -m
benchmarks.compression page` from `benchmarks/records/compression/`; not to be edited. Not tested on
a GPU.
"""
COLUMNS = (
    "model", "numbers", "valid MRR", "test MRR", "H@1", "H@10", "training s", "with teachers",
    "bytes an entity", "all else", "one query", "of 256",
)  # fmt: skip


def write_page(records: Path, into: Path) -> None:
    """Write both files."""
    kept = read_records(records)
    write_json(into / "compression.json", kept)
    parts = [PREAMBLE, *(_section(one) for one in kept)]
    (into / "compression.md").write_text("\n".join(parts), encoding="utf-8")


def _section(one: dict[str, Any]) -> str:
    recipe = f"Recipe {markdown(one['recipe'])} ({one['recipe_sha256'][:8]})"
    return "\n".join(
        [
            f"## {markdown(one['graph'])}, {one['entities']:,} entities\n",
            f"{recipe}, {markdown(one['machine'])}, {one['measured'][:10]}.\n",
            "| " + " | ".join(COLUMNS) + " |",
            "|" + "---|" * len(COLUMNS),
            *map(_line, one["rows"]),
            "",
        ]
    )


def _line(row: dict[str, Any]) -> str:
    model, test = row["model"], row["test"]
    compressed = "seconds_of_teachers" not in row
    own = f"{row['seconds']:,.1f}"
    cells = [
        row["title"],
        f"{model['scorer']}-{model['dimension']}",
        f"{row['valid']['mrr']:.4f}",
        *(f"{test[key]:.4f}" for key in ("mrr", "hits@1", "hits@10")),
        f"+{own}" if compressed else own,
        "" if compressed else f"{row['seconds'] + row['seconds_of_teachers']:,.1f}",
        f"{row['bytes_per_entity']:,}",
        f"{row['bytes_of_relations'] / 1e3:,.0f} kB",
        f"{row['single_us']:.1f} µs",
        f"{row['batch_us']:.2f} µs",
    ]
    return "| " + " | ".join(map(markdown, cells)) + " |"

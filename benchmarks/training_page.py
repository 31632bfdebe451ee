"""``training.md`` and ``training.json`` from the records of ``benchmarks.training_speed``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.record_files import read_records, write_json
from mulde.storage.printable import markdown

GOALS = (0.25, 0.30, 0.34)
PREAMBLE = """# Speed of training

All models have 32 real numbers an entity and train on one thread for the same number of seconds,
one after the other in one run; seconds are those of the processor. mulde's go through the loop
that recipes use; a batch is of distinct queries, each with all its triples, and its negatives are
shared. PyKEEN's batches are of triples, each with as many negatives of its own. Both train both
directions of each triple. A model trained by cross entropy scores all entities and takes no
negatives. Seconds to a valid MRR are of training alone; learning rates and losses were not tuned
for this page, PyKEEN's no more than ours, so the MRR says what these settings reach and triples a
second what the loop can do. Written by `python -m benchmarks.training_speed page` from
`benchmarks/records/training/`; not to be edited. Not tested on a GPU.
"""


def write_page(records: Path, into: Path) -> None:
    """Write both files."""
    kept = read_records(records)
    write_json(into / "training.json", kept)
    parts = [PREAMBLE, *("\n".join(_section(one)) for one in kept)]
    (into / "training.md").write_text("\n".join(parts), encoding="utf-8")


def _section(one: dict[str, Any]) -> list[str]:
    goals = [f"s to {goal:.2f}" for goal in GOALS]
    return [
        f"## {markdown(one['graph'])}, {one['triples']:,} triples, {one['entities']:,} entities\n",
        f"{markdown(one['machine'])}, torch {one['torch']}, {one['measured'][:10]}; "
        f"{one['seconds']:.0f} s of training each.\n",
        *_table(
            ["model", "batch", "negatives", "queries/s", "triples/s", *goals, "valid MRR at end"],
            [_run(run) for run in one["runs"]],
        ),
        "Where a step's processor time goes, by torch's operator:\n",
        *_table(
            ["model", "matrix products", "the largest others"],
            [_share(name, spent) for name, spent in one["shares"].items()],
        ),
        *_ways(one["variants"]),
    ]


def _ways(variants: dict[str, Any]) -> list[str]:
    if not variants:
        return []
    return [
        "A step as it is, with products in bfloat16 (`torch.autocast`), and compiled:\n",
        *_table(
            ["model", "way", "step", "first 5 steps"],
            [
                _way(name, way, found)
                for name, ways in variants.items()
                for way, found in ways.items()
            ],
        ),
    ]


def _table(names: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(map(markdown, row)) + " |" for row in [names, *rows]]
    return [lines[0], "|" + "---|" * len(names), *lines[1:], ""]


def _run(run: dict[str, Any]) -> list[str]:
    queries = f"{run['queries_per_s']:,.0f}" if "queries_per_s" in run else ""
    return [
        f"{run['name']}: {run['model']}",
        run["batch"],
        str(run["negatives"]),
        queries,
        f"{run['triples_per_s']:,.0f}",
        *(_seconds_to(run["curve"], goal) for goal in GOALS),
        f"{run['curve'][-1][1]:.4f}",
    ]


def _seconds_to(curve: list[tuple[float, float]], goal: float) -> str:
    return next((f"{second:.1f}" for second, mrr in curve if mrr >= goal), "not reached")


def _share(name: str, spent: dict[str, float]) -> list[str]:
    first, *others = spent.items()
    listed = ", ".join(f"{key} {share:.0%}" for key, share in others)
    return [name, f"{first[1]:.0%}", listed]


def _way(name: str, way: str, found: dict[str, Any]) -> list[str]:
    if "refused" in found:
        return [name, way, f"refused: {found['refused']}", ""]
    return [name, way, f"{found['step_ms']:.2f} ms", f"{found['first_5_steps_s']:.1f} s"]

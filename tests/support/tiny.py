"""A small synthetic graph that can be learnt, and recipes that train on it in a moment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mulde.graph.graph import SPLITS

NUM_ENTITIES = 30
Rows = Iterable[tuple[str, str, str]]


def triples() -> list[tuple[str, str, str]]:
    """99 facts over 30 entities on a ring: two shifts, a symmetric relation and a hierarchy."""
    names = [f"e{place:02d}" for place in range(NUM_ENTITIES)]
    facts = []
    for place, name in enumerate(names):
        facts.append((name, "next", names[(place + 1) % NUM_ENTITIES]))
        facts.append((name, "skip", names[(place + 5) % NUM_ENTITIES]))
        if place < NUM_ENTITIES // 2:
            facts.append((name, "mirror", names[-1 - place]))
        if place % 5:
            facts.append((name, "part_of", names[place // 5 * 5]))
    return facts


def write_split(folder: Path, name: str, rows: Rows) -> None:
    """``name``.txt with LF."""
    text = "".join("\t".join(row) + "\n" for row in rows)
    (folder / f"{name}.txt").write_bytes(text.encode())


def write_tiny_graph(folder: Path) -> Path:
    """Write the facts, 20 of them held out; one test fact has an entity that train lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = triples()
    order = np.random.default_rng(7).permutation(len(facts)).tolist()
    parts = {
        "valid": [facts[place] for place in order[:10]],
        "test": [*(facts[place] for place in order[10:20]), ("newcomer", "next", "e00")],
        "train": [facts[place] for place in order[20:]],
    }
    for name in SPLITS:
        write_split(folder, name, parts[name])
    return folder


def tiny_recipe(**changes: Any) -> dict[str, Any]:
    """A recipe as TOML would give it: two teachers, a Junior, a few epochs.

    Args:
        changes: replace whole keys, or with ``table__key=value`` one key of a table.
    """
    values: dict[str, Any] = {
        "name": "tiny",
        "data": "tiny",
        "seed": 3,
        "teachers": [
            {"scorer": "RotH", "dimension": 8, "spread": 0.1},
            {"scorer": "TransH", "dimension": 8, "spread": 0.1},
        ],
        "teacher_training": {
            "epochs": 6, "batch": 32, "negatives": 16, "rate": 0.02, "validate_every": 3,
        },
        "junior": {"scorer": "RotH", "dimension": 4, "score": "linear", "spread": 0.1},
        "junior_training": {
            "epochs": 6, "batch": 32, "negatives": 16, "rate": 0.02, "validate_every": 2,
        },
        "distillation": {"candidates": 8, "gamma": 0.5, "attention_period": 2.0},
    }  # fmt: skip
    for key, value in changes.items():
        table, _, inner = key.partition("__")
        if inner:
            values[table] = {**values[table], inner: value}
        else:
            values[key] = value
    return values

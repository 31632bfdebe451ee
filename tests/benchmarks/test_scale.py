"""The page of scale: it is that of its records, and slopes are those that a person works out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scale import HERE, RECORDS
from benchmarks.scale_page import PAPER, estimates, write_page


def records() -> list[dict[str, Any]]:
    found = [json.loads(path.read_text("utf-8")) for path in RECORDS.glob("*.json")]
    return sorted(found, key=lambda record: record["entities"])


def built(entities: int, cpu_s: float) -> dict[str, Any]:
    files = {"entities.faiss": 40 * entities}
    return {"entities": entities, "build": {"cpu_s": cpu_s, "peak_mb": 100.0, "files": files}}


def test_the_page_is_that_of_the_records(tmp_path: Path) -> None:
    write_page(records(), tmp_path)
    for name in ("scale.md", "scale.json"):
        assert (tmp_path / name).read_text("utf-8") == (HERE / name).read_text("utf-8")


def test_slopes_are_those_of_the_two_largest_sizes() -> None:
    """Twice the entities take 2^1.5 times the seconds, as much memory and twice the disk."""
    sizes = [built(10, 99.0), built(PAPER // 4, 10.0), built(PAPER // 2, 10.0 * 2**1.5)]
    found = estimates(sizes)
    assert found["build, s of processor"]["slope"] == pytest.approx(1.5)
    assert found["build, s of processor"]["at"] == pytest.approx(80.0)
    assert found["build, most memory, MB"] == pytest.approx({"slope": 0.0, "at": 100.0})
    assert found["on disk, MB"]["at"] == pytest.approx(40 * PAPER / 1e6)

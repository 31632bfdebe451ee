"""Path rules: written and read back, and every unsound file refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.facts.path_rules import MOST_RULES, PathRules
from mulde.errors import BundleError
from tests.support.damage import accepted

RULES = PathRules(
    num_relations=2,
    offsets=np.array([0, 2, 3], np.uint32),
    steps=np.array([[3, -1, -1], [0, 1, -1], [1, 2, 0]], np.int32),
    support=np.array([4, 2, 5], np.uint32),
    confidence=np.array([0.9, 0.25, 1.0], np.float32),
    sampled=np.array([7, 5], np.uint32),
)


def test_rules_are_read_as_they_were_written(tmp_path: Path) -> None:
    RULES.write(tmp_path / "rules.bin")
    found = PathRules.read(tmp_path / "rules.bin")
    assert found.num_relations == 2
    for name in ("offsets", "steps", "support", "confidence", "sampled"):
        np.testing.assert_array_equal(getattr(found, name), getattr(RULES, name))
    assert found.of(1) == slice(2, 3)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"steps": np.array([[4, -1, -1], [0, 1, -1], [1, 2, 0]], np.int32)}, "outside 4"),
        ({"steps": np.array([[-2, -1, -1], [0, 1, -1], [1, 2, 0]], np.int32)}, "outside 4"),
        ({"steps": np.array([[-1, -1, -1], [0, 1, -1], [1, 2, 0]], np.int32)}, "outside 4"),
        ({"steps": np.array([[3, -1, 2], [0, 1, -1], [1, 2, 0]], np.int32)}, "after its end"),
        ({"steps": np.zeros((2, 3), np.int32)}, "3 steps for each rule"),
        ({"confidence": np.array([0.9, np.nan, 1], np.float32)}, "confidence"),
        ({"confidence": np.array([0.9, 0.0, 1], np.float32)}, "confidence"),
        ({"confidence": np.array([0.9, 1.5, 1], np.float32)}, "confidence"),
        ({"confidence": np.array([0.9], np.float32)}, "do not fit"),
        ({"support": np.array([8, 2, 5], np.uint32)}, "support"),
        ({"offsets": np.array([0, 3, 2], np.uint32)}, "run from 0 to 3"),
        ({"offsets": np.array([0, 3], np.uint32)}, "do not fit"),
        ({"num_relations": 3}, "do not fit"),
        ({"num_relations": 2**40}, "one size"),
    ],
)
def test_unsound_rules_are_refused(
    tmp_path: Path, changes: dict[str, object], problem: str
) -> None:
    replace(RULES, **changes).write(tmp_path / "rules.bin")  # type: ignore[arg-type]
    with pytest.raises(BundleError, match=problem):
        PathRules.read(tmp_path / "rules.bin")


def test_more_rules_than_the_limit_are_refused(tmp_path: Path) -> None:
    count = MOST_RULES + 1
    PathRules(
        1,
        np.array([0, count], np.uint32),
        np.tile(np.array([[1, -1, -1]], np.int32), (count, 1)),
        np.ones(count, np.uint32),
        np.ones(count, np.float32),
        np.array([1], np.uint32),
    ).write(tmp_path / "rules.bin")
    with pytest.raises(BundleError, match="at most 1000"):
        PathRules.read(tmp_path / "rules.bin")


def test_no_damaged_file_is_read_as_something_else(tmp_path: Path) -> None:
    RULES.write(tmp_path / "rules.bin")
    for content in accepted(tmp_path / "rules.bin", PathRules.read):
        assert len(content.steps) == len(content.confidence)

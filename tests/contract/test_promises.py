"""The table of promises names tests that exist, and every file of server tests stands for one."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "reliability.md"
TEXT = PAGE.read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def rows() -> list[list[str]]:
    """The cells of every row: promise, tests, figure."""
    lines = [line for line in TEXT.splitlines() if re.match(r"\| (?!promise \|)", line)]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]


def test_every_promise_names_tests_that_exist() -> None:
    assert len({row[0] for row in rows()}) == len(rows()) > 70
    for row in rows():
        named = re.findall(r"`(tests/[\w/]+\.py)`", row[1])
        assert named, row
        assert [name for name in named if not (ROOT / name).is_file()] == []


def test_every_file_of_process_tests_stands_for_a_promise() -> None:
    files = (ROOT / "tests/serving/process").rglob("test_*.py")
    assert [path.name for path in files if f"/{path.name}`" not in TEXT] == []


def test_every_target_of_make_exists() -> None:
    named = {
        target for targets in re.findall(r"`make ([a-z -]+)", TEXT) for target in targets.split()
    }
    assert named
    assert named <= TARGETS

"""What SECURITY.md and docs/explanation/reliability.md point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "SECURITY.md", ROOT / "docs" / "explanation" / "reliability.md"]
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def rows(page: Path) -> list[list[str]]:
    """The cells of every row of every table, without the heads."""
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("promise", "asset")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_names_a_test_that_is_there(page: Path) -> None:
    for row in rows(page):
        named = re.findall(r"tests/[\w/]+\.py", " ".join(row))
        assert len(row) == 4, row
        assert named, row
        assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_of_make_is_there(page: Path) -> None:
    written = re.findall(r"`make ([a-z -]+)", page.read_text("utf-8"))
    named = {target for targets in written for target in targets.split()}
    assert named
    assert named <= TARGETS


def test_every_promise_says_how_it_is_repeated() -> None:
    for row in rows(PAGES[1]):
        assert re.search(r"`(make|pytest|python) ", row[3]), row

"""What docs/explanation/promises.md points at is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "promises.md"
ROW = re.compile(r"^\| (?!promise|what comes)(?P<promise>.+?) \| (?P<tests>.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def functions_in(file: str) -> set[str]:
    """The names of a file's test functions."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_tests_that_are_there() -> None:
    rows = list(ROW.finditer(PAGE.read_text("utf-8")))
    assert len({row["promise"] for row in rows}) == len(rows) > 50
    for row in rows:
        named = TEST.findall(row["tests"])
        assert named, row["promise"]
        assert TEST.sub("", row["tests"]).strip(" ,") == "", row["promise"]
        assert [f"{file}::{name}" for file, name in named if name not in functions_in(file)] == []


def test_every_file_of_server_tests_stands_for_a_promise() -> None:
    page = PAGE.read_text("utf-8")
    files = sorted(path.name for path in (ROOT / "tests/serving").glob("test_server_*.py"))
    assert [name for name in files if name not in page] == []

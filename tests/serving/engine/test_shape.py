"""The engine stays small: few files, and few levels of imports from its first module to its API."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
ENGINE = ROOT / "serving" / "engine"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(ENGINE.rglob("*.py"))
    if path.name != "__init__.py"
}


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of the engine that a module imports."""
    nodes = ast.walk(ast.parse(FILES[module].read_text("utf-8")))
    names = {
        name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    }
    return frozenset(names & FILES.keys())


@cache
def level(module: str) -> int:
    """1 for a module that imports none of the engine's, else one more than the highest of them."""
    return 1 + max((level(other) for other in imported(module)), default=0)


def test_the_engine_has_few_files() -> None:
    assert len(FILES) <= 23


def test_imports_have_few_levels() -> None:
    assert level("serving.engine.scoring") == 1
    assert level("serving.engine.engine") <= 6

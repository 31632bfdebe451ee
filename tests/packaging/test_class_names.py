"""One word, one meaning: no class name twice in the packages."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "mulde" / "v1"


def class_names() -> Counter[str]:
    files = (file for package in ("mulde", "serving", "training") for file in _files(package))
    trees = (ast.parse(file.read_text("utf-8")) for file in files)
    return Counter(node.name for tree in trees for node in _classes(tree))


def _files(package: str) -> list[Path]:
    found = (ROOT / package).rglob("*.py")
    return [file for file in found if GENERATED not in file.parents]


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    """Public ones; a private name means something in its file alone."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return [node for node in nodes if not node.name.startswith("_")]


def test_no_class_name_occurs_twice() -> None:
    counts = class_names()
    assert len(counts) > 100
    twice = {name for name, count in counts.items() if count > 1}
    assert twice == set()

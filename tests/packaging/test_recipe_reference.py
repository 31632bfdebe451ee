"""docs/reference/recipe-keys.md is what its generator writes, and every key has a meaning."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from scripts.generate.recipe_reference import TABLES, TARGET, meanings, page


def test_the_page_is_current() -> None:
    """If not: python scripts/generate/recipe_reference.py."""
    assert TARGET.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("table", [table for _, table in TABLES])
def test_every_key_is_documented_once_and_nothing_else_is(table: type[Any]) -> None:
    own = [item.name for item in fields(table) if item.name in vars(table)["__annotations__"]]
    assert list(meanings(table)) == own

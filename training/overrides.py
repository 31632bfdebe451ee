"""Variants of a recipe: some of its values changed, checked like a file, and written as one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from training.recipe import Recipe, decisive, parse_recipe

Changes = Mapping[str, Any]
"""Dotted keys of a recipe and their new values, such as ``{"distillation.gamma": 0.5}``."""


def variant(recipe: Recipe, changes: Changes, where: str) -> Recipe:
    """The recipe with some values changed.

    Args:
        recipe: what it starts from; it stays as it is.
        changes: a key names a value, or a whole table, whose other values then are defaults.
        where: begins the sentence of an error.

    Raises:
        ConfigError: if a key is none of a recipe's or a value does not fit (``parse_recipe``).
    """
    values = decisive(recipe)
    for key, value in changes.items():
        *tables, last = key.split(".")
        inner = values
        for table in tables:
            inner = inner.setdefault(table, {})
        inner[last] = value
    return parse_recipe(values, where)


def resized(recipe: Recipe, dimension: int | None, seed: int | None, where: str) -> Recipe:
    """The same recipe with a Junior of another dimension, another seed, or both.

    The dimension that ends the recipe's name follows: ``wn18rr-32`` becomes ``wn18rr-16``.

    Raises:
        ConfigError: if one is outside the range that a recipe allows.
    """
    changes: dict[str, Any] = {}
    if seed is not None:
        changes["seed"] = seed
    if dimension is not None and dimension != recipe.junior.dimension:
        stem = re.sub(rf"-{recipe.junior.dimension}$", "", recipe.name)
        changes |= {"name": f"{stem}-{dimension}", "junior.dimension": dimension}
    return variant(recipe, changes, where)


def to_toml(recipe: Recipe, comment: str = "") -> str:
    """A recipe file that reads back as the same recipe; ``comment`` is its first line."""
    lines, tables = [f"# {comment}"] if comment else [], []
    for key, value in decisive(recipe).items():
        if isinstance(value, dict):
            tables += ["", f"[{key}]"]
            tables += [f"{_key(name)} = {_toml(one)}" for name, one in value.items()]
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _key(name: str) -> str:
    """A key; one with a dot would be a path of keys if it were not quoted."""
    return json.dumps(name) if "." in name else name


def _toml(value: Any) -> str:
    """A value on one line; JSON's texts, numbers and truth values are TOML's too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)

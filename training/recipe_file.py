"""Recipe files: TOML to and from a ``Recipe``, and variants of one.

An unknown key, a wrong type or a value outside its range is a ConfigError that names the key.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mulde.errors import ConfigError
from training.recipe import Recipe, decisive

Changes = Mapping[str, Any]
"""Dotted keys of a recipe and their new values, such as ``{"distillation.gamma": 0.5}``."""


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe file.

    Raises:
        ConfigError: if it is missing, is not TOML, or does not fit (see ``parse_recipe``).
    """
    if Path(path).is_dir():
        expected = "a recipe file (TOML; for a graph folder alone there is 'mulde fit')"
        raise ConfigError(str(path), expected, "a folder")
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), "a readable TOML recipe", str(error)) from error
    return parse_recipe(values, str(path))


def parse_recipe(values: dict[str, Any], where: str) -> Recipe:
    """Check plain values against the recipe's types.

    Raises:
        ConfigError: naming the key, what was expected and what was found.
    """
    try:
        return TypeAdapter(Recipe).validate_python(values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.where}", error.expected, error.found) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        found = None if first["type"] == "missing" else first["input"]
        raise ConfigError(f"{where}: {key}", _expected(first), found) from error


def _expected(refusal: ErrorDetails) -> str:
    """What pydantic wanted, as the end of "expected ..."."""
    match refusal["type"]:
        case "missing":
            return "a value, since it has no default"
        case "unexpected_keyword_argument":
            return "only keys of the recipe"
        case "dataclass_type":
            return "a table"
        case "tuple_type":
            return "an array"
        case "string_pattern_mismatch":
            return f"text that matches {refusal['ctx']['pattern']}"
        case "value_error":
            return str(refusal["ctx"]["error"])
    return refusal["msg"].removeprefix("Input should be ")


def variant(recipe: Recipe, changes: Changes, where: str) -> Recipe:
    """Return the recipe with some values changed.

    Args:
        recipe: stays as it is.
        changes: a key names a value, or a whole table, whose other values then are defaults.
        where: begins the sentence of an error.

    Raises:
        ConfigError: if a recipe does not have the key or the value does not fit.
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
    """Return the recipe with another dimension of the Junior, another seed, or both.

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
    """Return a recipe file that reads back as the same recipe; ``comment`` is its first line."""
    lines, tables = [f"# {comment}"] if comment else [], []
    for key, value in decisive(recipe).items():
        if isinstance(value, dict):
            tables += ["", f"[{key}]"]
            tables += [f"{name} = {_toml(one)}" for name, one in value.items()]
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _toml(value: Any) -> str:
    """A value on one line; JSON's texts, numbers and truth values are TOML's too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)

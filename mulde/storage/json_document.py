"""Read JSON documents into pydantic dataclasses; the error names the first wrong field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mulde.errors import BundleError, shorten

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""No unknown key, no other type, no number that is not finite; an integer is also a float."""


def load_json(path: Path, text: str | bytes) -> Any:
    """Plain values of a JSON text; a name that occurs twice in one table is refused.

    Raises:
        BundleError: naming ``path``.
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise BundleError(path, f"expected JSON: {error}") from error


def parse_json(kind: type[T], path: Path, text: str | bytes) -> T:
    """Read a JSON text as ``kind``, a pydantic dataclass with ``STRICT``.

    Raises:
        BundleError: naming ``path`` and the first field that is unknown, missing or wrong.
    """
    load_json(path, text)  # pydantic takes the last of two equal names
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise BundleError(path, describe(error.errors()[0])) from error


def describe(refusal: ErrorDetails) -> str:
    """``where: expected this, found that``, from an error of pydantic."""
    where = _dotted(refusal["loc"])
    if refusal["type"] == "value_error":
        text = str(refusal["ctx"]["error"])
        return f"{where}{': ' if text.startswith('expected') else '.'}{text}" if where else text
    found = "none" if refusal["type"] == "missing" else shorten(refusal["input"])
    return f"{where or 'document'}: expected {_expected(refusal)}, found {found}"


def _expected(refusal: ErrorDetails) -> str:
    match refusal["type"]:
        case "missing":
            return "a value"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return "no such field"
        case "dataclass_type" | "dataclass_exact_type" | "dict_type":
            return "a table"
        case "string_pattern_mismatch":
            return f"text that matches {refusal['ctx']['pattern']}"
    return refusal["msg"].removeprefix("Input should be ")


def _dotted(parts: Sequence[int | str]) -> str:
    return ".".join(shorten(part) if _odd(part) else str(part) for part in parts if part != "[key]")


def _odd(part: int | str) -> bool:
    return isinstance(part, str) and not (part.isprintable() and len(part) <= 64)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice in one table")
    return table

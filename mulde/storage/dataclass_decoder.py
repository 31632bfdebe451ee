"""Plain data -> frozen dataclasses, strictly: no unknown key, no missing key, no other type.

Understands str, int, float (an int will do), bool, Literal, X | None, dict[str, X], list[X],
tuple[X, ...] and dataclasses of these. A float must be finite.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mulde.errors import shorten

T = TypeVar("T")


class Mismatch(ValueError):  # noqa: N818 - the tree of mulde.errors has no suffixes either
    """Data that does not fit: where (a dotted path), what was expected, what was found."""

    def __init__(self, where: str, expected: str, found: object) -> None:
        self.where, self.expected, self.found = where, expected, found
        super().__init__(f"{where}: expected {expected}, found {shorten(found)}")


def decode(kind: type[T], data: object, where: str = "") -> T:
    """Build the dataclass ``kind`` from a mapping.

    Args:
        kind: a dataclass; a field with a default may be missing.
        data: what a JSON or TOML reader returned.
        where: path of ``data``, for messages.

    Raises:
        Mismatch: naming the first field that does not fit.
    """
    if not isinstance(data, Mapping):
        raise Mismatch(where or kind.__name__, "a table", data)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields), key=str)
    if unknown:
        raise Mismatch(where or kind.__name__, f"only {', '.join(fields)}", unknown[0])
    hints, values = get_type_hints(kind), {}
    for name, field in fields.items():
        path = f"{where}.{name}" if where else name
        if name in data:
            values[name] = _value(hints[name], data[name], path)
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise Mismatch(path, "a value", "none")
    return kind(**values)


def _value(kind: Any, value: object, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return decode(kind, value, where)  # type: ignore[arg-type]
    if origin is Literal:
        return _literal(arguments, value, where)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return None if value is None else _value(inner[0], value, where)
    if origin is dict:
        return _table(arguments[1], value, where)
    if origin in (list, tuple):
        return origin(_items(arguments[0], value, where))
    return _plain(kind, value, where)


def _literal(choices: tuple[Any, ...], value: object, where: str) -> object:
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise Mismatch(where, f"one of {', '.join(map(repr, choices))}", value)
    return value


def _table(kind: Any, value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise Mismatch(where, "a table with names", value)
    return {key: _value(kind, item, f"{where}.{key}") for key, item in value.items()}


def _items(kind: Any, value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise Mismatch(where, "a list", value)
    return [_value(kind, item, f"{where}[{place}]") for place, item in enumerate(value)]


def _plain(kind: type, value: object, where: str) -> object:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise Mismatch(where, f"a value of type {kind.__name__}", value)
    if isinstance(value, float) and not math.isfinite(value):
        raise Mismatch(where, "a finite number", value)
    return value

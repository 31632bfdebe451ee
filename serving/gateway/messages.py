"""JSON to messages of the contract and back; names and shapes are those of the contract.

Two things differ from protobuf's own JSON: names are not turned into camel case, 64-bit numbers are
numbers, and a ``google.rpc.Status`` is a problem (RFC 9457), like the body of a failed call.
"""

from __future__ import annotations

import base64
import difflib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from mulde.client.failures import error_of
from mulde.errors import InvalidArgument
from serving.gateway.contract import JsonField, fields_of
from serving.gateway.problems import problem_of

Json = dict[str, Any]
_STATUS = "google.rpc.Status"
_WORDS = {
    "string": "a string",
    "bytes": "base64",
    "bool": "true or false",
    "number": "a number",
    "message": "an object",
}


def read_message(message: Any, value: Any, where: str = "") -> None:
    """Fill an empty message from JSON.

    Args:
        message: to fill.
        value: what was sent.
        where: path of the value, for errors; empty for the body.

    Raises:
        InvalidArgument: naming the field that is unknown or of another type.
    """
    if not isinstance(value, dict):
        raise InvalidArgument(where or "request", "an object", value)
    fields = fields_of(message.DESCRIPTOR)
    for name, item in value.items():
        place = f"{where}.{name}" if where else name
        field = fields.get(name)
        if field is None:
            nearest = difflib.get_close_matches(name, fields, 1, 0.0)
            expected = f"a known field, the nearest is {nearest[0]}" if nearest else "no field"
            raise InvalidArgument(where or "request", expected, name)
        try:
            _read_field(message, field, item, place)
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidArgument(place, _expected(field), item) from error


def _read_field(message: Any, field: JsonField, item: Any, place: str) -> None:
    if not field.repeated and field.kind == "message":
        part = getattr(message, field.name)
        read_message(part, item, place)
        part.SetInParent()
    elif not field.repeated:
        setattr(message, field.name, _scalar(field, item))
    elif not isinstance(item, list):
        raise ValueError
    elif field.kind == "message":
        for number, one in enumerate(item):
            read_message(getattr(message, field.name).add(), one, f"{place}[{number}]")
    else:
        getattr(message, field.name).extend(_scalars(field, item))


def _scalars(field: JsonField, items: list[Any]) -> Iterable[Any]:
    # Lists of names may be long: protobuf itself refuses elements that are no strings.
    return items if field.kind == "string" else [_scalar(field, item) for item in items]


def _scalar(field: JsonField, item: Any) -> Any:
    """A value of the type that protobuf wants.

    Raises:
        ValueError: if it is of another type.
    """
    if field.kind == "enum":
        return field.values[item] if isinstance(item, str) and item in field.values else _refuse()
    if field.kind == "bytes":
        return base64.b64decode(item, validate=True) if isinstance(item, str) else _refuse()
    if field.kind == "number":
        return float(item) if type(item) in (int, float) else _refuse()
    wanted = {"string": str, "bool": bool, "whole": int}[field.kind]
    if type(item) is not wanted:
        _refuse()
    return item


def _refuse() -> Any:
    raise ValueError


def _expected(field: JsonField) -> str:
    word = _WORDS.get(field.kind, "")
    if field.kind == "whole":
        word = f"a whole number from {field.least:,} to {field.most:,}"
    if field.kind == "enum":
        word = f"one of {', '.join(field.values)}"
    return f"a list, each element {word}" if field.repeated else word


def read_query(message: Any, pairs: Iterable[tuple[str, str]]) -> None:
    """Fill an empty message from the query of an address, such as ``model.name=wordnet``.

    Raises:
        InvalidArgument: as ``read_message``.
    """
    body: Json = {}
    for name, text in pairs:
        *folders, last = name.split(".")
        target, inside = body, message.DESCRIPTOR
        for folder in folders:
            field = fields_of(inside).get(folder)
            if field is None or field.message is None or field.repeated:
                raise InvalidArgument(name, "a known parameter", name)
            target, inside = target.setdefault(folder, {}), field.message
        _put(target, fields_of(inside).get(last), last, text)
    read_message(message, body)


def _put(target: Json, field: JsonField | None, name: str, text: str) -> None:
    value = text if field is None else _typed(field, text)
    if field is not None and field.repeated:
        target.setdefault(name, []).append(value)
    elif name in target:
        raise InvalidArgument(name, "the parameter once", "several times")
    else:
        target[name] = value


def _typed(field: JsonField, text: str) -> Any:
    """What a text stands for; itself where it is none of the field's values."""
    if field.kind == "bool":
        return {"true": True, "false": False}.get(text, text)
    try:
        number = {"whole": int, "number": float}.get(field.kind)
        return text if number is None or not text.isascii() or "_" in text else number(text)
    except ValueError:
        return text


Writer = Callable[[Message], Json]


def write_message(message: Message) -> Json:
    """A message as JSON: every field; absent are messages and optional values that are not set."""
    return _writer(message.DESCRIPTOR)(message)


@cache
def _writer(descriptor: Descriptor) -> Writer:
    if descriptor.full_name == _STATUS:
        return lambda status: problem_of(error_of(status))
    parts = [_part(field) for field in fields_of(descriptor).values()]

    def write(message: Message) -> Json:
        body: Json = {}
        for part in parts:
            part(message, body)
        return body

    return write


def _part(field: JsonField) -> Callable[[Message, Json], None]:
    """What writes one field into an object."""
    name, convert = field.name, _converter(field)
    maybe = field.optional or (field.kind == "message" and not field.repeated)

    def write(message: Message, body: Json) -> None:
        if maybe and not message.HasField(name):
            return
        body[name] = convert(getattr(message, name))

    return write


def _converter(field: JsonField) -> Callable[[Any], Any]:
    one: Callable[[Any], Any] | None = None
    if field.kind == "enum":
        names = {number: name for name, number in field.values.items()}
        one = names.__getitem__
    if field.kind == "bytes":
        one = _text_of_bytes
    if field.kind == "message":
        assert field.message is not None
        # Looked up at the call: a message may hold itself.
        one = write_message
    if not field.repeated:
        return one or _same
    return list if one is None else lambda values: list(map(one, values))


def _text_of_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _same(value: Any) -> Any:
    return value

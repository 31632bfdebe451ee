"""What an ``encoder.onnx`` may hold, looked at before ONNX Runtime sees any of it.

A bundle may come from anyone, with digests to match. So its graph is a short list of nodes with
operators that compute and do nothing else, and all its weights are inside the file: no other
file is named, nothing loops or branches, nothing is expanded from a sparse form. Read as protobuf
by hand, for the library of ONNX is a training library; field numbers are those of onnx.proto. A
field that may occur once may yet be repeated, and readers merge or take the last: all are looked
at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mulde.errors import BundleError, shorten

MOST_BYTES = 1 << 28
MOST_NODES = 1024

_ARITHMETIC = [
    "Abs", "Acosh", "Add", "Asinh", "Atanh", "Cast", "Clip", "Cos", "Cosh", "Div", "Equal", "Exp",
    "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Min",
    "Mul", "Neg", "Not", "Pow", "Reciprocal", "Sign", "Sin", "Sinh", "Sqrt", "Sub", "Tanh", "Where",
]  # fmt: skip
_REDUCTIONS = ["ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare"]
_PLACES = [
    "Concat", "Expand", "Gather", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
]  # fmt: skip
OPERATORS = frozenset([*_ARITHMETIC, *_REDUCTIONS, *_PLACES])
"""All that the scorers of training/ are exported to, and their kin."""

_MODEL_GRAPH, _MODEL_OPSET, _MODEL_FORBIDDEN = 7, 8, {20: "training steps", 25: "functions"}
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_FORBIDDEN = 1, 5, {15: "a sparse tensor"}
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_TENSOR_FORBIDDEN = {6: "texts", 13: "weights in another file"}
_TENSOR_LOCATION = 14
_ATTRIBUTE_ALLOWED = frozenset({1, 2, 3, 7, 8, 13, 20})
"""Its name, numbers, remark and type; no text, tensor or graph."""
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_STANDARD = (b"", b"ai.onnx")

Fields = Iterator[tuple[int, int | memoryview]]


class _Unsafe(ValueError):  # noqa: N818 - becomes a BundleError, which names the file
    """What is wrong with a graph, without the file's name."""


def check_graph(path: Path) -> int:
    """Refuse a file that is not a plain, closed graph.

    Returns:
        The version of its operators.

    Raises:
        BundleError: naming the file and what it holds that it may not.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise _Unsafe(f"expected at most {MOST_BYTES} bytes, found {size}")
        return _check_model(memoryview(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise BundleError(path, f"is not an encoder: {error}") from error


def _check_model(model: memoryview) -> int:
    nodes = opset = 0
    for field, value in _fields(model):
        _refuse(_MODEL_FORBIDDEN, field)
        if field == _MODEL_OPSET:
            _check_domains(_parts(value), _OPSET_DOMAIN)
            opset = max(
                [
                    opset,
                    *(n for f, n in _parts(value) if f == _OPSET_VERSION and isinstance(n, int)),
                ]
            )
        if field == _MODEL_GRAPH:
            nodes += _check_graph(_parts(value))
    if not 1 <= nodes <= MOST_NODES:
        raise _Unsafe(f"expected a graph of 1 to {MOST_NODES} nodes, found {nodes}")
    return opset


def _check_graph(fields: Fields) -> int:
    """Look at nodes and weights; the number of nodes."""
    nodes = 0
    for field, value in fields:
        _refuse(_GRAPH_FORBIDDEN, field)
        if field == _GRAPH_NODE:
            nodes += 1
            _check_node(value)
        if field == _GRAPH_TENSOR:
            _check_tensor(_parts(value))
    return nodes


def _check_node(node: int | memoryview) -> None:
    _check_domains(_parts(node), _NODE_DOMAIN)
    for field, value in _parts(node):
        if field == _NODE_OPERATOR:
            name = _text(value).decode("utf-8", "replace")
            if name not in OPERATORS:
                raise _Unsafe(f"it may not hold the operator {shorten(name)}")
        if field == _NODE_ATTRIBUTE:
            for inner, _ in _parts(value):
                if inner not in _ATTRIBUTE_ALLOWED:
                    raise _Unsafe("an attribute may hold numbers alone")


def _check_tensor(fields: Fields) -> None:
    for field, value in fields:
        _refuse(_TENSOR_FORBIDDEN, field)
        if field == _TENSOR_LOCATION and value != 0:
            raise _Unsafe("it may not hold weights in another file")


def _check_domains(fields: Fields, domain: int) -> None:
    for field, value in fields:
        if field == domain and _text(value) not in _STANDARD:
            raise _Unsafe(f"expected standard operators alone, found {shorten(_text(value))}")


def _refuse(forbidden: dict[int, str], field: int) -> None:
    if field in forbidden:
        raise _Unsafe(f"it may not hold {forbidden[field]}")


def _fields(view: memoryview) -> Fields:
    """Numbers and values of the fields of a message: a number, or the bytes of what is inside."""
    place = 0
    while place < len(view):
        key, place = _varint(view, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(view, place)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, place = _varint(view, place)
        if size is None or place + size > len(view):
            raise _Unsafe("it is cut short, or no protobuf")
        yield key >> 3, view[place : place + size]
        place += size


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(view) and shift < 64:
        byte = view[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise _Unsafe("it is cut short, or no protobuf")


def _parts(value: int | memoryview) -> Fields:
    if isinstance(value, int):
        raise _Unsafe("a number stands where a message must")
    return _fields(value)


def _text(value: int | memoryview) -> bytes:
    if isinstance(value, int):
        raise _Unsafe("a number stands where a text must")
    return bytes(value)

"""The ONNX graph of a scan: query in, its integer product with every row of the table out.

The bundle's encoder and the scan are one graph where there is an encoder, so that one run goes from
a head's row to the products: a serialised model followed by a serialised graph is the model with
both graphs' nodes. Written as protobuf by hand, because the library that writes ONNX files is a
training library; field numbers are those of onnx.proto.

    x = query[columns]            in float64, as all but the bytes
    t = max_i |x_i s_i| / most    the step of the query
    z = round(x s / t)            its bytes
    products = <z, w>             in 32 bits

Shape letters: p encoded queries, b scanned ones, W width, J columns of bytes, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulde.typing import Array, Float64, Rows

SIZE, TAKEN, VECTOR = "scan.size", "scan.taken", "scan.vector"
QUERY, PRODUCTS, SLACK = "scan.query", "scan.products", "scan.slack"
STEP, BASE, LOSS = "scan.step", "scan.base", "scan.loss"

OPSET = 18
"""The operator set of a scan without an encoder."""
_IR_VERSION = 8
_AXES_ARE_INPUTS = 18
"""The operator set from which on reductions take their axes as an input."""
_TYPES = {"f4": 1, "u1": 2, "i1": 3, "i4": 6, "i8": 7, "b1": 9, "f8": 11}
_LEAST_STEP = 1e-150
_ROUNDING = 4.0
_MOST_SLACK = float(1 << 30)


@dataclass(frozen=True)
class ByteRange:
    """The greatest magnitudes of bytes.

    Attributes:
        queries: of a query's, at most 127.
        weights: of the table's, at most 127.
    """

    queries: int
    weights: int

    @property
    def zero(self) -> int:
        """The unsigned byte that stands for a query's 0, so that the least is 1."""
        return self.queries + 1

    @property
    def fits_16_bits(self) -> bool:
        """Whether the sum of any two products of unsigned and signed bytes does."""
        return 2 * (self.zero + self.queries) * self.weights <= np.iinfo(np.int16).max


WIDE = ByteRange(127, 127)
NARROW = ByteRange(90, 90)
"""The sum of two products is 32,580 at most."""


@dataclass(frozen=True)
class ByteTable:
    """A table in bytes (``quantised.py`` makes one).

    Attributes:
        weights: int8 [J, N], w; 0 beyond the entities.
        span: the range of the bytes.
        columns: [J], which column of the table each byte stands for a part of.
        steps: [J], s.
        middle: [J], m.
        error: [J], e.
        row_norm: b.
    """

    weights: NDArray[np.int8]
    span: ByteRange
    columns: Rows
    steps: Float64
    middle: Float64
    error: Float64
    row_norm: float


def product_graph(weights: NDArray[np.int8], zero: int) -> bytes:
    """Return a model with input ``queries`` uint8 [b, J] and output ``products`` int32 [b, N].

    Args:
        weights: [J, N].
        zero: the byte of ``queries`` that stands for 0.
    """
    graph = _Graph()
    graph.reads("queries", "u1", "b", len(weights))
    graph.multiply("queries", weights, zero, "products")
    return _model(graph)


def scan_graph(table: ByteTable, width: int, encoder: bytes = b"", opset: int = OPSET) -> bytes:
    """Return a model of a scan.

    Without an encoder its input is ``scan.vector`` [b, W]. With one, the encoder's inputs come
    first; ``scan.size`` [1] is b, of the p encoded queries; and ``scan.taken`` [1, W] says which
    columns of a query the encoder gives, the others being those of ``scan.vector``.

    Outputs: ``scan.products`` int32 [b, N], ``scan.slack`` int32 [b, 1], ``scan.step``,
    ``scan.base`` and ``scan.loss`` float64 [b, 1] (``bounds.ProductBounds``); with an encoder also
    ``scan.query`` [b, W], and the encoder's outputs.

    Args:
        table: with its weights.
        width: W.
        encoder: a serialised model.
        opset: its operator set.
    """
    graph = _Graph()
    graph.reads(VECTOR, "f4", "given", width)
    query = VECTOR
    if encoder:
        query = QUERY
        _take_encoded(graph, width)
    _quantise(graph, query, table, opset)
    return encoder + _message(7, graph.serialise()) if encoder else _model(graph)


def _take_encoded(graph: _Graph, width: int) -> None:
    graph.reads(SIZE, "i8", 1)
    graph.reads(TAKEN, "b1", 1, width)
    graph.writes(QUERY, "f4", "b", width)
    graph.node("Slice", "query", graph.constant(np.zeros(1, np.int64)), SIZE, to="scan.first")
    graph.node("Where", TAKEN, "scan.first", VECTOR, to=QUERY)


def _quantise(graph: _Graph, query: str, table: ByteTable, opset: int) -> None:
    node, constant = graph.node, graph.constant
    node("Gather", query, constant(table.columns), to="scan.gathered", axis=1)
    exact = node("Cast", "scan.gathered", to="scan.exact", type=_TYPES["f8"])
    scaled = node("Mul", exact, constant(table.steps), to="scan.scaled")
    most = graph.maximum(node("Abs", scaled, to="scan.sizes"), opset)
    node("Div", most, constant(np.float64(table.span.queries)), to="scan.largest")
    node("Max", "scan.largest", constant(np.float64(_LEAST_STEP)), to=STEP)
    whole = node("Round", node("Div", scaled, STEP, to="scan.ratio"), to="scan.whole")
    node("Add", whole, constant(np.float64(table.span.zero)), to="scan.shifted")
    node("Cast", "scan.shifted", to="scan.bytes", type=_TYPES["u1"])
    graph.multiply("scan.bytes", table.weights, table.span.zero, PRODUCTS)
    node("MatMul", exact, constant(table.middle[:, None]), to=BASE)
    lost = node("Sub", scaled, node("Mul", whole, STEP, to="scan.rounded"), to="scan.lost")
    square = node("Mul", lost, lost, to="scan.lost_square")
    norms = constant(np.full((len(table.columns), 1), table.row_norm**2))
    query_loss = node(
        "Sqrt", node("MatMul", square, norms, to="scan.of_square"), to="scan.of_query"
    )
    sizes = node("Abs", exact, to="scan.exact_sizes")
    table_loss = node("MatMul", sizes, constant(table.error[:, None]), to="scan.of_table")
    node("Add", query_loss, table_loss, to=LOSS)
    # The k-th greatest may have gained the loss, and others may have lost it.
    node("Div", LOSS, node("Mul", STEP, constant(np.float64(0.5)), to="scan.half"), to="scan.twice")
    node("Add", "scan.twice", constant(np.float64(_ROUNDING)), to="scan.more")
    node("Min", "scan.more", constant(np.float64(_MOST_SLACK)), to="scan.bounded")
    node("Cast", "scan.bounded", to=SLACK, type=_TYPES["i4"])
    graph.writes(SLACK, "i4", "b", 1)
    for name in (STEP, BASE, LOSS):
        graph.writes(name, "f8", "b", 1)


@dataclass
class _Graph:
    """A graph that grows; each value is written once."""

    parts: list[bytes] = field(default_factory=list)
    constants: int = 0

    def node(self, operator: str, *inputs: str, to: str, axis: int = 0, type: int = 0) -> str:
        """Add an operator with at most one attribute, and return the name of its output."""
        node = b"".join(_text(1, name) for name in inputs) + _text(2, to) + _text(4, operator)
        if axis:
            node += _message(5, _text(1, "axis") + _number(3, axis) + _number(20, 2))
        if type:
            node += _message(5, _text(1, "to") + _number(3, type) + _number(20, 2))
        self.parts.append(_message(1, node))
        return to

    def maximum(self, values: str, opset: int) -> str:
        """Add the greatest number of each row, [b, 1]."""
        inputs, attribute = [values], b""
        if opset >= _AXES_ARE_INPUTS:
            inputs.append(self.constant(np.ones(1, np.int64)))
        else:
            attribute = _message(5, _text(1, "axes") + _number(8, 1) + _number(20, 7))
        node = b"".join(_text(1, name) for name in inputs) + _text(2, "scan.most")
        self.parts.append(_message(1, node + _text(4, "ReduceMax") + attribute))
        return "scan.most"

    def multiply(self, queries: str, weights: NDArray[np.int8], zero: int, to: str) -> None:
        """Add the product of unsigned bytes [b, J] with signed ones [J, N], as an output."""
        zeros = self.constant(np.array(zero, np.uint8))
        self.node("MatMulInteger", queries, self.constant(weights), zeros, to=to)
        self.writes(to, "i4", "b", weights.shape[1])

    def constant(self, values: Array | np.floating[Any]) -> str:
        """Add a constant, and return its name."""
        array, self.constants = np.asarray(values), self.constants + 1
        name = f"scan.constant.{self.constants}"
        dims = b"".join(_number(1, size) for size in array.shape)
        kind = _number(2, _TYPES[array.dtype.str[1:]])
        tensor = dims + kind + _text(8, name) + _message(9, array.tobytes())
        self.parts.append(_message(5, tensor))
        return name

    def reads(self, name: str, kind: str, *shape: int | str) -> None:
        """Declare an input."""
        self.parts.append(_message(11, _value(name, kind, shape)))

    def writes(self, name: str, kind: str, *shape: int | str) -> None:
        """Declare an output."""
        self.parts.append(_message(12, _value(name, kind, shape)))

    def serialise(self) -> bytes:
        """Return a GraphProto."""
        return b"".join(self.parts)


def _model(graph: _Graph) -> bytes:
    named = _text(2, "scan") + graph.serialise()
    return _number(1, _IR_VERSION) + _message(7, named) + _message(8, _number(2, OPSET))


def _value(name: str, kind: str, shape: tuple[int | str, ...]) -> bytes:
    """Describe an array; a size that is a text is any size."""
    sizes = b"".join(
        _message(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape
    )
    tensor = _number(1, _TYPES[kind]) + _message(2, sizes)
    return _text(1, name) + _message(2, _message(1, tensor))


def _number(key: int, value: int) -> bytes:
    return _varint(key << 3) + _varint(value)


def _text(key: int, value: str) -> bytes:
    return _message(key, value.encode("ascii"))


def _message(key: int, content: bytes) -> bytes:
    return _varint(key << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

"""The ONNX graph of a scan: query in, its integer product with every row of the table out.

The bundle's encoder and the scan are one graph where there is an encoder, so that one run goes from
a head's row to the products: a serialised model followed by a serialised graph is the model with
both graphs' nodes. Written as protobuf by hand, because the library that writes ONNX files is a
training library; field numbers are those of onnx.proto.

    x = query[columns]
    t = max_i |x_i s_i| / most    the step of the query
    z = round(x s / t)            its bytes
    products = <z, w>             in 32 bits

All in float32 but the bytes; ``bounds`` count what that loses.

Shape letters: p encoded queries, b scanned ones, W width, J columns of bytes, N rows, k answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulde.typing import Array, Float32, Float64, Rows

SIZE, TAKEN, VECTOR, ZERO = "scan.size", "scan.taken", "scan.vector", "scan.zero"
QUERY, PRODUCTS, STEP = "scan.query", "scan.products", "scan.step"
LOSS, SLACK = "scan.loss", "scan.slack"

OPSET = 18
"""The least operator set of an encoder that a scan takes in, and that of a scan without one."""
_IR_VERSION = 8
_TYPES = {"f4": 1, "u1": 2, "i1": 3, "i4": 6, "i8": 7, "b1": 9, "f8": 11}
_LEAST_STEP = 1e-30
_ROUNDING = 4.0
_FLOAT32_LOSS = 1e-4
"""What a few roundings of float32 lose of the 127 steps of a number, in steps."""


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
        steps: [J], s, each a number of float32.
        middle: [J], m.
        error: [J], e.
        row_norm: a, the largest Euclidean norm of a row's bytes.
    """

    weights: NDArray[np.int8]
    span: ByteRange
    columns: Rows
    steps: Float64
    middle: Float64
    error: Float64
    row_norm: float

    @property
    def float32_loss(self) -> float:
        """What float32 loses in a product beside what rounding to bytes does, in steps t."""
        return _FLOAT32_LOSS * float(np.sqrt(len(self.columns))) * self.row_norm


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


def scan_graph(table: ByteTable, width: int, encoder: bytes = b"") -> bytes:
    """Return a model of a scan.

    Without an encoder its inputs are ``scan.vector`` [b, W] and ``scan.zero`` uint8 [b], the byte
    that stands for 0. With one, the encoder's inputs come first; ``scan.size`` [1] is b, of the p
    encoded queries; and ``scan.taken`` [1, W] says which columns of a query the encoder gives, the
    others being those of ``scan.vector``.

    Outputs: ``scan.products`` int32 [b, N]; ``scan.step`` [b]; ``scan.loss`` [b], |x s - t z| a;
    ``scan.slack`` int32 [b], how far below the k-th greatest product a row with one of the k
    greatest exact ones may be; with an encoder also ``scan.query`` [b, W], and the encoder's
    outputs.

    Args:
        table: with its weights.
        width: W.
        encoder: a serialised model.
    """
    graph = _Graph()
    graph.reads(VECTOR, "f4", "given", width)
    graph.reads(ZERO, "u1", "b")
    query = VECTOR
    if encoder:
        query = QUERY
        _take_encoded(graph, width)
    _scan(graph, query, table)
    return encoder + _message(7, graph.serialise()) if encoder else _model(graph)


def _take_encoded(graph: _Graph, width: int) -> None:
    graph.reads(SIZE, "i8", 1)
    graph.reads(TAKEN, "b1", 1, width)
    graph.writes(QUERY, "f4", "b", width)
    graph.node("Slice", "query", graph.constant(np.zeros(1, np.int64)), SIZE, gives="scan.first")
    graph.node("Where", TAKEN, "scan.first", VECTOR, gives=QUERY)


def _scan(graph: _Graph, query: str, table: ByteTable) -> None:
    node, constant = graph.node, graph.constant
    node("Gather", query, constant(table.columns), gives="scan.gathered", axis=1)
    node("Mul", "scan.gathered", constant(np.float32(table.steps)), gives="scan.scaled")
    node("Abs", "scan.scaled", gives="scan.sizes")
    rows = constant(np.ones(1, np.int64))
    node("ReduceMax", "scan.sizes", rows, gives="scan.most", keepdims=0)
    node("Mul", "scan.most", constant(np.float32(1 / table.span.queries)), gives="scan.largest")
    node("Max", "scan.largest", constant(np.float32(_LEAST_STEP)), gives=STEP)
    node("QuantizeLinear", "scan.scaled", STEP, ZERO, gives="scan.bytes", axis=0)
    graph.multiply("scan.bytes", table.weights, table.span.zero, PRODUCTS)
    node("DequantizeLinear", "scan.bytes", STEP, ZERO, gives="scan.rounded", axis=0)
    node("Sub", "scan.scaled", "scan.rounded", gives="scan.lost")
    node("ReduceL2", "scan.lost", rows, gives="scan.distance", keepdims=0)
    node("Mul", "scan.distance", constant(np.float32(table.row_norm)), gives=LOSS)
    node("MatMul", "scan.sizes", constant(_relative_error(table)), gives="scan.of_table")
    node("Add", LOSS, "scan.of_table", gives="scan.both")
    # The k-th greatest may have gained the loss, and others may have lost it.
    node("Mul", "scan.both", constant(np.float32(2)), gives="scan.twice")
    node("Div", "scan.twice", STEP, gives="scan.in_steps")
    rest = np.float32(2 * table.float32_loss + _ROUNDING)
    node("Add", "scan.in_steps", constant(rest), gives="scan.bound")
    node("Cast", "scan.bound", gives=SLACK, to=_TYPES["i4"])
    for name, kind in ((STEP, "f4"), (LOSS, "f4"), (SLACK, "i4")):
        graph.writes(name, kind, "b")


def _relative_error(table: ByteTable) -> Float32:
    """Return e / s, [J]; where s is 0, e is, too."""
    steps = np.where(table.steps > 0, table.steps, 1.0)
    return (table.error / steps * (1 + 1e-5)).astype(np.float32)


@dataclass
class _Graph:
    """A graph that grows; each value is written once."""

    parts: list[bytes] = field(default_factory=list)
    constants: int = 0

    def node(self, operator: str, *inputs: str, gives: str, **attributes: int) -> str:
        """Add an operator with whole numbers as attributes; return the name of its output."""
        node = b"".join(_text(1, name) for name in inputs) + _text(2, gives) + _text(4, operator)
        for name, value in attributes.items():
            node += _message(5, _text(1, name) + _number(3, value) + _number(20, 2))
        self.parts.append(_message(1, node))
        return gives

    def multiply(self, queries: str, weights: NDArray[np.int8], zero: int, to: str) -> None:
        """Add the product of unsigned bytes [b, J] with signed ones [J, N], as an output."""
        zeros = self.constant(np.array(zero, np.uint8))
        self.node("MatMulInteger", queries, self.constant(weights), zeros, gives=to)
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

"""Ranges of bytes, and the ONNX graph ``products = MatMulInteger(queries, weights, zero)``.

Unsigned bytes [B, J] with a zero point, times signed bytes [J, N]. Written as protobuf by hand,
because the library that writes ONNX files is a training library; field numbers are those of
onnx.proto, IR version 8, operator set 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Products = NDArray[np.int32]
LOWEST = int(np.iinfo(np.int32).min)
"""Stands for the product of a row that may not be chosen."""

_IR_VERSION, _OPSET = 8, 13
_UINT8, _INT8, _INT32 = 2, 3, 6


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


def product_graph(weights: NDArray[np.int8], zero: int) -> bytes:
    """Return a model with input ``queries`` uint8 [B, J] and output ``products`` int32 [B, N].

    Args:
        weights: [J, N].
        zero: the byte of ``queries`` that stands for 0.
    """
    columns, rows = weights.shape
    inputs = b"".join(_text(1, name) for name in ("queries", "weights", "zero"))
    node = inputs + _text(2, "products") + _text(4, "MatMulInteger")
    graph = _message(1, node) + _text(2, "scan")
    graph += _message(5, _tensor("weights", _INT8, weights.shape, weights.tobytes()))
    graph += _message(5, _tensor("zero", _UINT8, (), bytes([zero])))
    graph += _message(11, _matrix("queries", _UINT8, columns))
    graph += _message(12, _matrix("products", _INT32, rows))
    return _number(1, _IR_VERSION) + _message(7, graph) + _message(8, _number(2, _OPSET))


def _tensor(name: str, kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
    dims = b"".join(_number(1, size) for size in shape)
    return dims + _number(2, kind) + _text(8, name) + _message(9, data)


def _matrix(name: str, kind: int, columns: int) -> bytes:
    """Describe a matrix with any number of rows."""
    shape = _message(1, _text(2, "n")) + _message(1, _number(1, columns))
    tensor = _number(1, kind) + _message(2, shape)
    return _text(1, name) + _message(2, _message(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode("ascii"))


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

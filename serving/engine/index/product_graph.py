"""The ONNX graph that the server writes itself: a product of bytes.

``products = MatMulInteger(queries, weights, zero)``: unsigned bytes [n, J] with a zero point,
times signed bytes [J, N]. Written as
protobuf by hand, for the library that writes ONNX files is a training library; field numbers are
those of onnx.proto, IR version 8, operator set 13.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_IR_VERSION, _OPSET = 8, 13
_UINT8, _INT8, _INT32 = 2, 3, 6


def product_graph(weights: NDArray[np.int8], zero: int) -> bytes:
    """A model with input ``queries`` uint8 [n, J] and output ``products`` int32 [n, N].

    Args:
        weights: [J, N].
        zero: the byte of ``queries`` that stands for 0.
    """
    tensors = _tensor("weights", _INT8, weights.shape, weights.tobytes())
    point = _tensor("zero", _UINT8, (), bytes([zero]))
    inputs = ("queries", "weights", "zero")
    node = _node("MatMulInteger", inputs)
    return _model(node, [tensors, point], (_UINT8, _INT32), weights.shape)


def _node(operator: str, inputs: tuple[str, ...]) -> bytes:
    names = b"".join(_text(1, name) for name in inputs)
    return names + _text(2, "products") + _text(4, operator)


def _model(
    node: bytes, tensors: list[bytes], kinds: tuple[int, int], shape: tuple[int, ...]
) -> bytes:
    """A graph of one node, from ``queries`` to ``products``, which are of these kinds."""
    graph = _message(1, node) + _text(2, "scan")
    graph += b"".join(_message(5, tensor) for tensor in tensors)
    graph += _message(11, _value("queries", kinds[0], shape[0]))
    graph += _message(12, _value("products", kinds[1], shape[1]))
    return _number(1, _IR_VERSION) + _message(7, graph) + _message(8, _number(2, _OPSET))


def _tensor(name: str, kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
    dims = b"".join(_number(1, size) for size in shape)
    return dims + _number(2, kind) + _text(8, name) + _message(9, data)


def _value(name: str, kind: int, columns: int) -> bytes:
    """A matrix with any number of rows."""
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

"""Exact products of bytes, by ONNX Runtime, into buffers that the index owns.

ONNX Runtime multiplies unsigned bytes z (queries) by signed bytes w (the table) and adds the
products in 32 bits. Processors with an instruction for that (VNNI, the dot products of ARM) are
exact whatever the bytes are. Others, with AVX2 or AVX-512 alone, first add two neighbouring
products in 16 bits, and saturate beyond 32,767: 2 * 255 * 127 is 64,770. So there are two ranges of
bytes. In the narrow one no two products can leave 16 bits; and either is tried with its extremes
on this machine before it is used.

Shape letters: b queries of one run, J columns of bytes, N rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from queue import LifoQueue
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mulde.typing import Bytes
from serving.engine.index.product_graph import (
    NARROW,
    WIDE,
    ByteRange,
    Products,
    product_graph,
)
from serving.engine.onnx_session import session_options

MOST_QUERIES = 16
"""b at most: more are not multiplied faster, and their products leave the cache."""

_BUFFER_PRODUCTS = 1 << 20
"""b N at most, 4 MiB; one query of a larger table takes more."""
_MOST_BUFFERS = 4
_TRIED_QUERIES = (1, 2, 3, 4, 5, 8, 16)
_TRIED_COLUMNS, _TRIED_ROWS = (7, 68), 300


class InexactProducts(Exception):  # noqa: N818 - a state of the machine, not an error of a caller
    """Byte products on this machine are not exact."""


def exact_range(threads: int = 1) -> ByteRange:
    """Return the wider range whose products this machine gets exactly.

    Raises:
        InexactProducts: if there is none.
    """
    for tried in (WIDE, NARROW):
        if _is_exact(tried, threads):
            return tried
    raise InexactProducts


def product_session(
    weights: NDArray[np.int8], span: ByteRange, threads: int
) -> ort.InferenceSession:
    """Return what multiplies queries in ``span`` with ``weights`` [J, N]."""
    graph = product_graph(weights, span.zero)
    return ort.InferenceSession(graph, session_options(threads), providers=["CPUExecutionProvider"])


def _is_exact(span: ByteRange, threads: int) -> bool:
    """Return whether extreme products come out right, alone and in batches."""
    generator = np.random.default_rng(0)
    for columns in _TRIED_COLUMNS:
        signs = generator.choice([-1, 1], size=(columns, _TRIED_ROWS))
        signs[:, 0], signs[:, 1] = 1, -1
        weights = (signs * span.weights).astype(np.int8)
        session = product_session(weights, span, threads)
        for count in _TRIED_QUERIES:
            queries = generator.choice([-1, 1], size=(count, columns)) * span.queries
            queries[0] = span.queries
            rounded = (queries + span.zero).astype(np.uint8)
            found = session.run(["products"], {"queries": rounded})[0]
            if not np.array_equal(found, queries @ weights.astype(np.int64)):
                return False
    return True


class ByteProduct:
    """``products = queries @ weights``; at most as many at a time as there are cores, up to 4.

    A fresh array of this size costs the system more (pages, one by one) than the product itself.
    So the results go to buffers that are kept, one for each product under way.
    """

    def __init__(self, weights: NDArray[np.int8], span: ByteRange, threads: int) -> None:
        """Load weights [J, N] for queries in ``span``."""
        self._session = product_session(weights, span, threads)
        columns, rows = weights.shape
        self.most_queries = max(1, min(MOST_QUERIES, _BUFFER_PRODUCTS // rows))
        self._shape = self.most_queries, columns, rows
        self._free: LifoQueue[_Buffer | None] = LifoQueue()
        for _ in range(min(_MOST_BUFFERS, os.cpu_count() or 1)):
            self._free.put(None)  # made when it is needed

    @contextmanager
    def run(self, queries: Bytes) -> Iterator[Products]:
        """Lend the products [b, N] of queries [b, J]; waits until a buffer is free."""
        buffer = self._free.get()
        try:
            buffer = buffer or _Buffer(self._session, *self._shape)
            yield buffer.run(queries)
        finally:
            self._free.put(buffer)


class _Buffer:
    """Room for one run, bound to the session for each number of queries that occurs."""

    def __init__(self, session: ort.InferenceSession, queries: int, columns: int, rows: int):
        self._session = session
        self._queries = np.zeros((queries, columns), np.uint8)
        self._products = np.zeros((queries, rows), np.int32)
        self._bindings: dict[int, Any] = {}

    def run(self, queries: Bytes) -> Products:
        count = len(queries)
        self._queries[:count] = queries
        self._session.run_with_iobinding(self._bindings.get(count) or self._bind(count))
        return self._products[:count]

    def _bind(self, count: int) -> Any:
        binding, products = self._session.io_binding(), self._products[:count]
        binding.bind_cpu_input("queries", self._queries[:count])
        place = products.ctypes.data
        binding.bind_output("products", "cpu", 0, np.int32, products.shape, place)
        self._bindings[count] = binding
        return binding

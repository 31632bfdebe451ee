"""A matrix product with a constant matrix, run again and again without asking for memory.

A fresh array of this size costs the system more (pages, one by one) than the product itself. So
each thread keeps one buffer for its results, and hands it to ONNX Runtime.

Shape letters: B queries, J columns, N rows of the constant matrix.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_INPUT, _OUTPUT = "queries", "products"


class Product(threading.local):
    """``products = queries @ weights``; every thread that uses it has its own buffer."""

    def __init__(self, session: ort.InferenceSession, rows: int, dtype: type[np.generic]) -> None:
        """Remember the graph.

        Args:
            session: a graph of ``onnx_graph``.
            rows: N.
            dtype: of the products.
        """
        self._session, self._rows, self._dtype = session, rows, dtype
        self._buffer: NDArray[Any] = np.empty(0, dtype)
        self._alone: tuple[Any, NDArray[Any], NDArray[Any]] | None = None

    def run(self, queries: NDArray[Any]) -> NDArray[Any]:
        """Products [B, N] of queries [B, J]; they serve until this thread asks for others."""
        if len(queries) == 1:
            return self._run_alone(queries)
        products = self._room(len(queries))
        self._session.run_with_iobinding(self._bind(queries, products))
        return products

    def _run_alone(self, query: NDArray[Any]) -> NDArray[Any]:
        """The same for one query, with the binding made once."""
        if self._alone is None:
            held, products = query.copy(), self._room(1)
            self._alone = self._bind(held, products), held, products
        binding, held, products = self._alone
        held[:] = query
        self._session.run_with_iobinding(binding)
        return products

    def _room(self, queries: int) -> NDArray[Any]:
        size = queries * self._rows
        if len(self._buffer) < size:
            self._buffer, self._alone = np.empty(size, self._dtype), None
        return self._buffer[:size].reshape(queries, self._rows)

    def _bind(self, queries: NDArray[Any], products: NDArray[Any]) -> Any:
        binding = self._session.io_binding()
        binding.bind_cpu_input(_INPUT, queries)
        address = products.ctypes.data
        binding.bind_output(_OUTPUT, "cpu", 0, self._dtype, products.shape, address)
        return binding

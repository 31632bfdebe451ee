"""One scan: the integer products of up to 32 queries with every row, and what they say.

ONNX Runtime encodes, rounds and multiplies in one run (``scan_graph.py``), into buffers that are
kept: a fresh array of that size costs the system more (pages, one by one) than the product.

For a query q and a row v, with z and w their bytes, t the step of q and m the middle of the table,

    <q, v> = <q, m> + t <z, w> + error,    |error| <= loss = sum_i |q_i| e_i + |q s - t z| b

(``quantised.py``). All of these are known numbers, and <z, w> is an integer.

Shape letters: B queries, b of one scan, p that are encoded for it, W width, N rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort

from mulde.typing import Array, Float64, Products
from serving.engine.index import scan_graph
from serving.engine.onnx_session import new_session
from serving.engine.scoring import HeadQueries, Query

MOST_QUERIES = 32
"""b at most: more are not multiplied faster, and their products leave the cache."""
LOWEST = -(1 << 30)
"""Stands for the product of a row that may not be chosen; no product is near it."""

_BUFFER_PRODUCTS = 1 << 21
"""b N at most, 8 MiB; one query of a larger table takes more."""
_MOST_BUFFERS = 4
_SLACK = 1e-12
"""Far above what float64 loses when bounds are computed, far below the bounds."""


@dataclass(slots=True)
class ProductBounds:
    """What integer products say about exact ones.

    Attributes:
        step: [b, 1], t, above 0.
        base: [b, 1], <q, m>.
        loss: [b, 1], the bound on the error.
        slack: int32 [b, 1], how far below the k-th greatest integer product a row with one of the
            k greatest exact products may be.
    """

    step: Float64
    base: Float64
    loss: Float64
    slack: Products

    def take(self, start: int, stop: int) -> ProductBounds:
        """Return those of queries ``start`` to ``stop``."""
        part = slice(start, stop)
        return ProductBounds(self.step[part], self.base[part], self.loss[part], self.slack[part])

    def floors(self, products: Float64) -> Products:
        """Return integers [b, 1] that rows with exact products of at least [b, 1] reach."""
        wanted = (products - self.base - self.loss) / self.step
        wanted -= 1.0 + _SLACK * np.abs(products / self.step)
        # Towards 0 where that is up: a floor that is higher by less than 1 keeps no integer out
        # that reaches it, and 1 came off.
        return np.minimum(np.maximum(wanted, LOWEST + 1), -LOWEST).astype(np.int32)

    def safe(self, kth: Products) -> Products:
        """Return integers [b, 1] that every row with one of the k greatest exact products reaches.

        Args:
            kth: [b, 1], at most the k-th greatest integer product.
        """
        floors: Products = np.maximum(kth - self.slack, LOWEST + 1)
        return floors

    def most_below(self, floors: Products) -> Float64:
        """Return exact products [b] that rows below ``floors`` [b, 1] do not exceed."""
        most = self.base + self.step * (floors - 1.0) + self.loss
        most += _SLACK * (np.abs(most) + np.abs(self.base) + self.step)
        return np.where(floors == LOWEST + 1, -np.inf, most)[:, 0]


class JoinableEncoder(Protocol):
    """An encoder whose graph a scan takes in (``Encoder``).

    Attributes:
        opset: the version of its operators.
    """

    opset: int

    @property
    def model(self) -> bytes:
        """The serialised graph."""

    def padded(self, count: int) -> int:
        """Return how many queries are encoded for so many."""


class Scans:
    """Scans of one table; at most as many at a time as there are cores, up to 4."""

    def __init__(
        self,
        table: scan_graph.ByteTable,
        width: int,
        threads: int = 1,
        encoder: JoinableEncoder | None = None,
    ) -> None:
        """Load the weights.

        Args:
            table: with its weights.
            width: W.
            threads: for one scan.
            encoder: of the questions that will be asked; None where all queries come encoded.
        """
        rows = table.weights.shape[1]
        self.most_queries = max(1, min(MOST_QUERIES, _BUFFER_PRODUCTS // rows))
        self._shape = self.most_queries, width, rows
        model, opset = (
            (b"", scan_graph.OPSET) if encoder is None else (encoder.model, encoder.opset)
        )
        self._session = new_session(scan_graph.scan_graph(table, width, model, opset), threads)
        self._padded = None if encoder is None else encoder.padded
        self._idle: list[Scan] = []
        self._permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(min(_MOST_BUFFERS, os.cpu_count() or 1)):
            self._permits.put(None)

    def start(self, asked: Query | HeadQueries) -> Scan:
        """Scan for b queries; waits until a buffer is free.

        The caller gives the scan back (``end``) when it has read its products.
        """
        if self._padded is None:
            asked = asked.encoded()
        self._permits.get()
        scan = None
        try:
            # The buffer that was used last is in the processor's cache.
            scan = (
                self._idle.pop() if self._idle else Scan(self._session, self._padded, self._shape)
            )
            scan.run(asked)
        except BaseException:
            self.end(scan)
            raise
        return scan

    def end(self, scan: Scan | None) -> None:
        """Let another scan use the buffer."""
        if scan is not None:
            self._idle.append(scan)
        self._permits.put(None)


class Scan:
    """Buffers of one scan, bound to the session for each number of queries that occurs.

    Attributes:
        products: [b, N] of the last run; the caller may write into them.
        query: of the last run.
        bounds: likewise.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        padded: Callable[[int], int] | None,
        shape: tuple[int, int, int],
    ) -> None:
        queries, width, rows = shape
        self._session, self._padded = session, padded
        self._bindings: dict[int, Any] = {}
        self._products = np.zeros((queries, rows), np.int32)
        self._bounds = np.zeros((3, queries, 1))
        self._slack = np.zeros((queries, 1), np.int32)
        self._vector = np.zeros((queries, width), np.float32)
        if padded is not None:
            most = padded(queries)
            self._heads = np.zeros((most, width), np.float32)
            self._relations = np.zeros(most, np.int64)
            self._taken = np.zeros((1, width), np.bool_)
            self._query = np.zeros((queries, width), np.float32)
            self._scalars = np.zeros((3, most), np.float32)

    def run(self, asked: Query | HeadQueries) -> None:
        """Scan for at most b queries."""
        count = len(asked)
        binding = self._bindings.get(count) or self._bind(count)
        if isinstance(asked, Query):
            self._vector[:count] = asked.vector
            if self._padded is not None:
                self._taken[:] = False
            self._session.run_with_iobinding(binding)
            self.query = asked
        else:
            self._vector[:count] = 0.0
            self._taken[:] = asked.taken
            self._heads[:count], self._relations[:count] = asked.heads, asked.relations
            self._session.run_with_iobinding(binding)
            scalars = self._scalars[:, :count].astype(np.float64)
            self.query = Query(self._query[:count].copy(), *scalars)
        self.products = self._products[:count]
        step, base, loss = self._bounds[:, :count].copy()
        self.bounds = ProductBounds(step, base, loss, self._slack[:count].copy())

    def _bind(self, count: int) -> Any:
        binding = self._session.io_binding()
        inputs: dict[str, Array] = {scan_graph.VECTOR: self._vector[:count]}
        outputs: dict[str, Array] = {
            scan_graph.PRODUCTS: self._products[:count],
            scan_graph.SLACK: self._slack[:count],
        }
        bounds = (scan_graph.STEP, scan_graph.BASE, scan_graph.LOSS)
        outputs |= {name: part[:count] for name, part in zip(bounds, self._bounds, strict=True)}
        if self._padded is not None:
            most = self._padded(count)
            inputs |= {
                "head": self._heads[:most],
                "relation": self._relations[:most],
                scan_graph.SIZE: np.array([count]),
                scan_graph.TAKEN: self._taken,
            }
            names = ("offset", "bias", "slope")
            outputs |= {n: part[:most] for n, part in zip(names, self._scalars, strict=True)}
            outputs[scan_graph.QUERY] = self._query[:count]
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        for name, array in outputs.items():
            place = array.ctypes.data
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, place)
        self._bindings[count] = binding
        return binding

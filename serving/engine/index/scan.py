"""One scan: the integer products of up to 32 queries with every row, and what they say.

ONNX Runtime encodes, rounds and multiplies in one run (``scan_graph.py``), into buffers that are
kept: a fresh array of that size costs the system more (pages, one by one) than the product.

Shape letters: B queries, b of one scan, p that are encoded for it, W width, N rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnxruntime as ort

from mulde.typing import Array, Bytes, Float32, Float64, Products, Rows
from serving.engine.index import scan_graph
from serving.engine.onnx_session import new_session
from serving.engine.scoring import HeadQueries, Query

MOST_QUERIES = 32
"""b at most: more are not multiplied faster, and their products leave the cache."""

_BUFFER_PRODUCTS = 1 << 21
"""b N at most, 8 MiB; one query of a larger table takes more."""
_MOST_BUFFERS = 4


class JoinableEncoder(Protocol):
    """An encoder whose graph a scan takes in (``Encoder``)."""

    @property
    def model(self) -> bytes:
        """The serialised graph, of operator set ``scan_graph.OPSET`` or a later one."""

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
        model = b"" if encoder is None else encoder.model
        session = new_session(scan_graph.scan_graph(table, width, model), threads)
        self._padded = None if encoder is None else encoder.padded
        self._parts = session, table, width, self.most_queries, self._padded
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
            scan = self._idle.pop() if self._idle else Scan(*self._parts)
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
        steps: float64 [2, b], t and |q s - t z| a of each query (``quantised.py``).
        slack: int32 [b], how far below the k-th greatest integer product a row with one of the k
            greatest exact products may be.
    """

    products: Products
    query: Query
    steps: Float64
    slack: Products

    def __init__(
        self,
        session: ort.InferenceSession,
        table: scan_graph.ByteTable,
        width: int,
        queries: int,
        padded: Callable[[int], int] | None,
    ) -> None:
        self._session, self._padded = session, padded
        self._bound: dict[int, tuple[Any, Buffers]] = {}
        most = 0 if padded is None else padded(queries)
        self._buffers = Buffers(
            heads=np.zeros((most, width), np.float32),
            relations=np.zeros(most, np.int64),
            scalars=np.zeros((3, most), np.float32),
            given=np.zeros((queries, width), np.float32),
            zero=np.full(queries, table.span.zero, np.uint8),
            query=np.zeros((queries, width), np.float32),
            steps=np.zeros((2, queries), np.float32),
            slack=np.zeros(queries, np.int32),
            products=np.zeros((queries, table.weights.shape[1]), np.int32),
        )
        self._taken = np.zeros((1, width), np.bool_)

    def run(self, asked: Query | HeadQueries) -> None:
        """Scan for at most b queries."""
        count = len(asked)
        binding, part = self._bound.get(count) or self._bind(count)
        if isinstance(asked, Query):
            part.given[:], self._taken[:] = asked.vector, False
            self._session.run_with_iobinding(binding)
            part.given[:], self.query = 0.0, asked
        else:
            part.heads[:count], part.relations[:count] = asked.heads, asked.relations
            self._taken[:] = asked.taken
            self._session.run_with_iobinding(binding)
            scalars = part.scalars[:, :count].astype(np.float64)
            self.query = Query(part.query.copy(), *scalars)
        self.products, self.slack = part.products, part.slack
        self.steps = part.steps.astype(np.float64)

    def _bind(self, count: int) -> tuple[Any, Buffers]:
        most = count if self._padded is None else self._padded(count)
        part, binding = self._buffers.first(count, most), self._session.io_binding()
        inputs: dict[str, Array] = {scan_graph.VECTOR: part.given, scan_graph.ZERO: part.zero}
        outputs: dict[str, Array] = {
            scan_graph.PRODUCTS: part.products,
            scan_graph.STEP: part.steps[0],
            scan_graph.LOSS: part.steps[1],
            scan_graph.SLACK: part.slack,
        }
        if self._padded is not None:
            inputs |= {"head": part.heads, "relation": part.relations}
            inputs |= {scan_graph.SIZE: np.array([count]), scan_graph.TAKEN: self._taken}
            outputs |= dict(zip(("offset", "bias", "slope"), part.scalars, strict=True))
            outputs[scan_graph.QUERY] = part.query
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        for name, array in outputs.items():
            place = array.ctypes.data
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, place)
        self._bound[count] = binding, part
        return binding, part


class Buffers(NamedTuple):
    """What a scan reads and writes; p and b as in ``scan_graph.py``."""

    heads: Float32
    relations: Rows
    scalars: Float32
    given: Float32
    zero: Bytes
    query: Float32
    steps: Float32
    slack: Products
    products: Products

    def first(self, count: int, padded: int) -> Buffers:
        """Return those of the first ``count`` queries, of which ``padded`` are encoded."""
        return Buffers(
            heads=self.heads[:padded],
            relations=self.relations[:padded],
            scalars=self.scalars[:, :padded],
            given=self.given[:count],
            zero=self.zero[:count],
            query=self.query[:count],
            steps=self.steps[:, :count],
            slack=self.slack[:count],
            products=self.products[:count],
        )

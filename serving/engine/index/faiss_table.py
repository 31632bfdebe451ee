"""Index type ``table``: FAISS over the mapped table itself; and what ``ivf`` shares with it.

A FAISS index returns the best few of a query and no more. Excluded rows cannot be left out inside
FAISS without a call for each query, so that many more are fetched and dropped afterwards.

Shape letters: B queries, b some of them, E entities, K rows fetched for each, n pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Protocol

import numpy as np

from mulde.typing import Float32, Float64, Rows
from serving.engine.entity_table import EntityTable, use_threads
from serving.engine.index.base import Asked, Candidates, Exclusions
from serving.engine.index.bounds import DECODING, float32_loss

_LEAST_REACHED = 64
_GROWTH = 8
_STEP_PAIRS = 1 << 17
"""Pairs of a query and a row that are fetched at once, or those of one query."""


class Source(Protocol):
    """One FAISS index over E rows.

    Attributes:
        entities: E.
        spare: how many rows to fetch beyond those that are needed.
    """

    entities: int
    spare: int

    def best(self, vectors: Float32, count: int) -> tuple[Rows, Float64]:
        """Search the rows with the largest products.

        Args:
            vectors: [b, W].
            count: K.

        Returns:
            Rows [b, K], -1 where there are fewer; and ``Candidates.unseen`` of all others, [b].
        """


class FaissIndex:
    """Candidates from a ``Source``; see ``CandidateIndex``."""

    narrows = is_top = False

    def __init__(self, source: Source, certain: Source, threads: int = 1) -> None:
        """Search ``source`` on so many threads, and ``certain`` for everything above a product."""
        self._source, self._certain, self._threads = source, certain, threads

    def nearest(
        self, asked: Asked, k: int, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """See ``CandidateIndex``; the number fetched for a query is a power of two.

        So queries that need about as many are searched together, and what a query gets does not
        depend on the rest of its batch.
        """
        query = asked.encoded()
        needed = k + self._source.spare + excluded.counts
        sizes = np.exp2(np.ceil(np.log2(needed))).astype(np.int64)
        sizes = np.minimum(sizes, self._source.entities)
        for start, stop in _spans(sizes):
            part = query.vector[start:stop], sizes[start:stop]
            owners, rows, unseen = self._fetched(*part, excluded.take(start, stop))
            found = query.take(slice(start, stop))
            yield Candidates(start, found, owners, rows, partial(_same, unseen))

    def _fetched(
        self, vectors: Float32, sizes: Rows, excluded: Exclusions
    ) -> tuple[Rows, Rows, Float64]:
        """Fetch so many rows for each vector; owners and rows of the pairs, and ``unseen``."""
        unseen, parts = np.empty(len(vectors)), []
        for size in np.unique(sizes).tolist():
            which = np.flatnonzero(sizes == size)
            rows, unseen[which] = self._best(self._source, vectors[which], size)
            parts.append(_pairs(which, rows))
        owners, found = _allowed(*_joined(parts), excluded, self._source.entities)
        order = owners.argsort(kind="stable")
        return owners[order], found[order], unseen

    def _best(self, source: Source, vectors: Float32, count: int) -> tuple[Rows, Float64]:
        use_threads(self._threads)  # OpenMP counts for each thread that calls
        return source.best(vectors, count)

    def above(
        self, asked: Asked, floors: Float64, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """See ``CandidateIndex``: more and more rows, query by query."""
        for start in range(len(asked)):
            query = asked.take(slice(start, start + 1)).encoded()
            rows, unseen = self._reach(query.vector, floors[start])
            barred, pairs = excluded.take(start, start + 1), _pairs(np.zeros(1, np.int64), rows)
            kept = _allowed(*pairs, barred, self._source.entities)
            yield Candidates(start, query, *kept, partial(_same, unseen))

    def _reach(self, vector: Float32, floor: float) -> tuple[Rows, Float64]:
        count = _LEAST_REACHED
        while True:
            count = min(count, self._certain.entities)
            rows, unseen = self._best(self._certain, vector, count)
            if unseen[0] < floor or count == self._certain.entities:
                return rows, unseen
            count *= _GROWTH


class WholeTable:
    """FAISS over the mapped table; it takes no memory of its own. See ``Source``."""

    spare = 6

    def __init__(self, table: EntityTable, row_norm: float) -> None:
        """Search a table whose rows have a Euclidean norm of at most ``row_norm``."""
        self._table, self._row_norm = table, max(row_norm, table.magnitude)
        self.entities, self.width = table.entities, table.width

    def best(self, vectors: Float32, count: int) -> tuple[Rows, Float64]:
        """See ``Source``."""
        products, rows = self._table.search(vectors, count)
        if count == self.entities:
            return rows, np.full(len(vectors), -np.inf)
        loss = float32_loss(vectors, self._row_norm, self.width, DECODING)
        return rows, products[:, -1] + loss


def _spans(sizes: Rows) -> Iterator[tuple[int, int]]:
    """Return where spans of queries start and stop, each with about ``_STEP_PAIRS`` rows."""
    groups = np.cumsum(sizes) // _STEP_PAIRS
    ends = np.flatnonzero(np.diff(groups)) + 1
    yield from pairwise([0, *ends.tolist(), len(sizes)])


def _same(unseen: Float64) -> Float64:
    return unseen


def _pairs(which: Rows, rows: Rows) -> tuple[Rows, Rows]:
    """Return queries [b] and their rows [b, K] as pairs, without the -1 that stand for none."""
    owners, found = np.repeat(which, rows.shape[1]), rows.reshape(-1)
    return owners[found >= 0], found[found >= 0]


def _joined(parts: list[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    owners, rows = zip(*parts, strict=True)
    return np.concatenate(owners), np.concatenate(rows)


def _allowed(owners: Rows, rows: Rows, excluded: Exclusions, entities: int) -> tuple[Rows, Rows]:
    """Return the pairs that are not excluded."""
    if excluded.is_empty:
        return owners, rows
    kept = ~np.isin(rows, excluded.everywhere)
    kept &= ~np.isin(owners * entities + rows, excluded.owners * entities + excluded.rows)
    return owners[kept], rows[kept]

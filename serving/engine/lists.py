"""Candidates from an index of FAISS, which gives the best few of a query and no more.

Known facts of a query cannot be left out inside FAISS without a call for each query, so as many
more are fetched and dropped afterwards, which loses nothing.

Shape letters: B queries, b some of them, E entities, M rows fetched for each, n pairs.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.engine.encoder import Query
from serving.engine.excluded import Excluded, Rows
from serving.engine.index import EntityIndex
from serving.engine.rounding import float32_loss

Array = NDArray[np.float64]
Vectors = NDArray[np.float32]

_MOST_QUERIES = 256
_LEAST_FETCHED = 16


class Source(Protocol):
    """One index of FAISS over E rows.

    Attributes:
        entities: E.
        spare: how many rows to fetch beyond those that are needed.
    """

    entities: int
    spare: int

    def best(self, vectors: Vectors, count: int) -> tuple[Rows, Array]:
        """The rows that look best.

        Args:
            vectors: [b, W].
            count: M.

        Returns:
            Rows [b, M], -1 where there are fewer; and ``View.unseen`` of all others, [b].
        """

    def above(self, vector: Vectors, floor: float) -> Rows:
        """Every row whose exact product with ``vector`` [W] is at least ``floor``; more will do."""


class Lists:
    """Candidates from a ``Source``: kinds ``table``, ``sq8``, ``pq`` and ``ivf``."""

    narrows = False
    queries = _MOST_QUERIES

    def __init__(self, source: Source) -> None:
        """Search ``source``."""
        self._source = source

    def look(self, query: Query, excluded: Excluded, allowed: Rows | None) -> ListView:
        """See ``Candidates.look``."""
        if allowed is not None:
            raise NotImplementedError("a FAISS index cannot look among some rows alone")
        return ListView(self._source, query, excluded)


class ListView:
    """See ``candidates.View``."""

    is_top = False

    def __init__(self, source: Source, query: Query, excluded: Excluded) -> None:
        """Remember; ``fetch`` searches."""
        self._source, self._vectors, self._excluded = source, query.vector, excluded
        self._unseen = np.full(len(query), np.inf)

    def fetch(self, k: int) -> tuple[Rows, Rows]:
        """See ``View.fetch``; queries that need about as many rows are searched together."""
        source = self._source
        needed = k + source.spare + np.diff(self._excluded.offsets)
        sizes = np.exp2(np.ceil(np.log2(np.maximum(needed, _LEAST_FETCHED)))).astype(np.int64)
        if len(sizes) == 1:
            sizes = needed
        parts = []
        for size in np.unique(sizes):
            which = np.flatnonzero(sizes == size)
            count = min(int(size), source.entities)
            rows, self._unseen[which] = source.best(self._vectors[which], count)
            places, columns = np.nonzero(rows >= 0)
            parts.append((which[places], rows[places, columns]))
        owners, found = (np.concatenate(column) for column in zip(*parts, strict=True))
        return self._allowed(owners, found)

    def unseen(self) -> Array:
        """See ``View.unseen``."""
        return self._unseen

    def reach(self, which: Rows, floors: Array) -> tuple[Rows, Rows]:
        """See ``View.reach``: one query at a time, over the whole index."""
        found = [
            self._source.above(self._vectors[one], float(floor))
            for one, floor in zip(which, floors, strict=True)
        ]
        owners = np.repeat(which, [len(rows) for rows in found])
        return self._allowed(owners, np.concatenate(found))

    def _allowed(self, owners: Rows, rows: Rows) -> tuple[Rows, Rows]:
        """Without what a query may not be answered with."""
        if not len(self._excluded.rows):
            return owners, rows
        size = self._source.entities
        barred = self._excluded.owners * size + self._excluded.rows
        kept = ~np.isin(owners * size + rows, barred)
        return owners[kept], rows[kept]


class WholeTable:
    """FAISS over the mapped table itself: kind ``table``; it takes no memory of its own."""

    spare = 6

    def __init__(self, index: EntityIndex, row_norm: float) -> None:
        """Search a table.

        Args:
            index: the table.
            row_norm: the largest Euclidean norm of a row.
        """
        self._index, self._row_norm = index, row_norm
        self.entities, self.width = index.entities, index.width

    def _loss(self, vectors: Vectors) -> Array:
        """By how much FAISS's products may be wrong, [b]."""
        return float32_loss(vectors, self._row_norm, self.width)

    def best(self, vectors: Vectors, count: int) -> tuple[Rows, Array]:
        """See ``Source.best``."""
        products, rows = self._index.search(vectors, count)
        if count == self.entities:
            return rows, np.full(len(vectors), -np.inf)
        return rows, products[:, -1] + self._loss(vectors)

    def above(self, vector: Vectors, floor: float) -> Rows:
        """See ``Source.above``."""
        loss = float(self._loss(vector[None, :])[0])
        return self._index.above(vector, floor - loss)

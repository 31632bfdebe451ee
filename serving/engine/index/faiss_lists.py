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
from serving.engine.entity_table import EntityIndex
from serving.engine.exclusions import Excluded, Rows
from serving.engine.index.rounding import float32_loss

Array = NDArray[np.float64]
Vectors = NDArray[np.float32]

_MOST_QUERIES = 256
_LEAST_REACHED = 64
DECODING = 6
"""Roundings of float32 while FAISS decodes a number."""
_GROWTH = 8


class Source(Protocol):
    """One index of FAISS over E rows.

    Attributes:
        entities: E.
        spare: how many rows to fetch beyond those that are needed.
        surest: the source to ask where certainty is wanted; often itself.
    """

    entities: int
    spare: int

    @property
    def surest(self) -> Source:
        """See above."""

    def best(self, vectors: Vectors, count: int) -> tuple[Rows, Array]:
        """The rows that look best.

        Args:
            vectors: [b, W].
            count: M.

        Returns:
            Rows [b, M], -1 where there are fewer; and ``View.unseen`` of all others, [b].
        """


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
        count = k + self._source.spare
        if not len(self._excluded.rows):
            return self._search(np.arange(len(self._vectors)), count)
        needed = count + np.diff(self._excluded.offsets)
        sizes = np.exp2(np.ceil(np.log2(needed))).astype(np.int64) if len(needed) > 1 else needed
        groups = [(np.flatnonzero(sizes == size), int(size)) for size in np.unique(sizes)]
        return self._allowed(*_joined([self._search(*group) for group in groups]))

    def _search(self, which: Rows, count: int) -> tuple[Rows, Rows]:
        source = self._source
        count = min(count, source.entities)
        vectors = self._vectors if len(which) == len(self._vectors) else self._vectors[which]
        rows, self._unseen[which] = source.best(vectors, count)
        return _pairs(which, rows)

    def unseen(self) -> Array:
        """See ``View.unseen``."""
        return self._unseen

    def reach(self, which: Rows, floors: Array) -> tuple[Rows, Rows]:
        """See ``View.reach``: more and more rows of the surest source."""
        source, parts, count = self._source.surest, [], _LEAST_REACHED
        while len(which):
            count = min(count, source.entities)
            rows, unseen = source.best(self._vectors[which], count)
            done = (unseen < floors) | (count == source.entities)
            parts.append(_pairs(which[done], rows[done]))
            which, floors, count = which[~done], floors[~done], _GROWTH * count
        return self._allowed(*_joined(parts))

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
        self._index, self._row_norm = index, max(row_norm, index.magnitude)
        self.entities, self.width = index.entities, index.width

    def _loss(self, vectors: Vectors) -> Array:
        """By how much FAISS's products may be wrong, [b]."""
        return float32_loss(vectors, self._row_norm, self.width, DECODING)

    def best(self, vectors: Vectors, count: int) -> tuple[Rows, Array]:
        """See ``Source.best``."""
        products, rows = self._index.search(vectors, count)
        if count == self.entities:
            return rows, np.full(len(vectors), -np.inf)
        return rows, products[:, -1] + self._loss(vectors)

    @property
    def surest(self) -> WholeTable:
        """See ``Source``."""
        return self


def _pairs(which: Rows, rows: Rows) -> tuple[Rows, Rows]:
    """Pairs of queries [b] and their rows [b, M], without the -1 that stand for none."""
    owners, found = np.repeat(which, rows.shape[1]), rows.reshape(-1)
    if len(found) and found.min() < 0:
        owners, found = owners[found >= 0], found[found >= 0]
    return owners, found


def _joined(parts: list[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    owners, rows = zip(*parts, strict=True)
    return np.concatenate(owners), np.concatenate(rows)

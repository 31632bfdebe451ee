"""What a query may not be answered with.

Shape letters: B queries, F excluded rows of all queries together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Excluded:
    """Rows that may not be answers, for each query.

    Attributes:
        offsets: int64 [B + 1]; query i's are ``rows[offsets[i]:offsets[i + 1]]``.
        rows: int64 [F], ascending and distinct within a query.
    """

    offsets: Rows
    rows: Rows

    @classmethod
    def nothing(cls, queries: int) -> Excluded:
        """No row, for any query."""
        if queries == 1:
            return _NOTHING
        return cls(np.zeros(queries + 1, np.int64), np.zeros(0, np.int64))

    @classmethod
    def of_pairs(cls, owners: Rows, rows: Rows, queries: int) -> Excluded:
        """From (query, row) pairs in any order, some perhaps twice."""
        order = np.lexsort((rows, owners))
        owners, rows = owners[order], rows[order]
        fresh = np.ones(len(rows), dtype=bool)
        fresh[1:] = (owners[1:] != owners[:-1]) | (rows[1:] != rows[:-1])
        sizes = np.bincount(owners[fresh], minlength=queries)
        return cls(np.concatenate([[0], np.cumsum(sizes)]), rows[fresh])

    @property
    def owners(self) -> Rows:
        """The query of each row, [F]."""
        if len(self.offsets) == 2:  # one query, where three calls would be felt
            return np.zeros(len(self.rows), np.int64)
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def of(self, query: int) -> Rows:
        """The rows of one query."""
        return self.rows[self.offsets[query] : self.offsets[query + 1]]

    def take(self, start: int, stop: int) -> Excluded:
        """The same for queries ``start`` to ``stop``."""
        offsets = self.offsets[start : stop + 1]
        return Excluded(offsets - offsets[0], self.rows[offsets[0] : offsets[-1]])

    def with_all(self, rows: Rows) -> Excluded:
        """The same and ``rows`` for every query."""
        queries = len(self.offsets) - 1
        owners = np.concatenate([self.owners, np.repeat(np.arange(queries), len(rows))])
        return Excluded.of_pairs(
            owners, np.concatenate([self.rows, np.tile(rows, queries)]), queries
        )

    def with_own(self, entities: Rows, of: NDArray[np.bool_]) -> Excluded:
        """The same and each query's own entity [B], for the queries in ``of`` [B]."""
        if len(entities) == 1:
            return self._with_one(entities) if of[0] else self
        if not len(self.rows):
            return Excluded(np.concatenate([[0], np.cumsum(of)]), entities[of])
        owners = np.concatenate([self.owners, np.flatnonzero(of)])
        rows = np.concatenate([self.rows, entities[of]])
        return Excluded.of_pairs(owners, rows, len(entities))

    def _with_one(self, row: Rows) -> Excluded:
        """A lone query's, where sorting would be felt: one more row [1] in its place."""
        if not len(self.rows):
            return Excluded(_ONE, row)
        place = int(self.rows.searchsorted(row[0]))
        if place < len(self.rows) and self.rows[place] == row[0]:
            return self
        rows = np.concatenate([self.rows[:place], row, self.rows[place:]])
        return Excluded(np.array([0, len(rows)]), rows)

    def within(self, allowed: Rows | None) -> tuple[Rows, Rows]:
        """(query, place) of excluded rows, the place being that in ``allowed`` (None for all)."""
        owners, rows = self.owners, self.rows
        if allowed is None:
            return owners, rows
        if not len(allowed):
            return owners[:0], rows[:0]
        places = np.minimum(np.searchsorted(allowed, rows), len(allowed) - 1)
        here = allowed[places] == rows
        return owners[here], places[here]


_ONE = np.array([0, 1])
_NOTHING = Excluded(np.zeros(2, np.int64), np.zeros(0, np.int64))

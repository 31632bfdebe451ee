"""Entities that may not be answers.

Shape letters: B queries, F excluded pairs of all queries together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.typing import Rows

_NO_ROWS = np.zeros(0, np.int64)


@dataclass(slots=True)  # a frozen one takes four times as long to make
class Exclusions:
    """Pairs of a query and a row that is not among its answers; a pair may occur twice.

    Attributes:
        queries: B.
        owners: int64 [F], ascending: the query of each pair.
        rows: int64 [F].
        everywhere: int64, rows that are no answer to any query.
    """

    queries: int
    owners: Rows
    rows: Rows
    everywhere: Rows

    @classmethod
    def none(cls, queries: int) -> Exclusions:
        """Return no pair."""
        return cls(queries, _NO_ROWS, _NO_ROWS, _NO_ROWS)

    @classmethod
    def of_pairs(cls, owners: Rows, rows: Rows, queries: int) -> Exclusions:
        """Return pairs that come in any order."""
        order = owners.argsort(kind="stable")
        return cls(queries, owners[order], rows[order], _NO_ROWS)

    @property
    def is_empty(self) -> bool:
        """Whether there is no pair and no row."""
        return not len(self.rows) and not len(self.everywhere)

    @property
    def counts(self) -> Rows:
        """At least the number of excluded rows of each query, [B]."""
        counts: Rows = np.bincount(self.owners, minlength=self.queries) + len(self.everywhere)
        return counts

    def take(self, start: int, stop: int) -> Exclusions:
        """Return those of queries ``start`` to ``stop``."""
        if start == 0 and stop == self.queries:
            return self
        first, last = self.owners.searchsorted([start, stop]).tolist()
        part = slice(first, last)
        return Exclusions(stop - start, self.owners[part] - start, self.rows[part], self.everywhere)

    def pick(self, queries: Rows) -> Exclusions:
        """Return those of some queries, ascending."""
        places = np.minimum(queries.searchsorted(self.owners), len(queries) - 1)
        kept = queries[places] == self.owners
        return Exclusions(len(queries), places[kept], self.rows[kept], self.everywhere)

    def within(self, allowed: Rows) -> tuple[Rows, Rows]:
        """Return pairs of a query and a place in ``allowed`` whose row is excluded for it.

        Args:
            allowed: ascending rows.
        """
        every = np.arange(self.queries)
        owners = np.concatenate([self.owners, every.repeat(len(self.everywhere))])
        rows = np.concatenate([self.rows, np.tile(self.everywhere, self.queries)])
        if not len(allowed):
            return owners[:0], rows[:0]
        places = np.minimum(allowed.searchsorted(rows), len(allowed) - 1)
        here = allowed[places] == rows
        return owners[here], places[here]

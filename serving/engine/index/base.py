"""What a search asks of an index, and what every index type returns.

An index never decides an answer. It returns rows; ``Retriever`` scores them in float64 from the
table, and the bound tells whether a row that was not returned could belong to the answer. So types
differ in speed, memory and how often an answer is certified at once, never in a certified answer.

    type     rows come from                                              memory of a process
    int8     the table in bytes, multiplied exactly (``int8.py``)        D + 4 bytes an entity
    table    FAISS over the mapped table itself (``faiss_table.py``)     none
    ivf      FAISS over a few inverted lists of codes (``ivf.py``)       none

Shape letters: B queries, b some of them, F excluded pairs of all queries together, n pairs of a
query and a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from mulde.typing import Float64, Floats, Rows
from serving.engine.results import Results
from serving.engine.scoring import HeadQueries, ProductScorer, Query

_NO_ROWS = np.zeros(0, np.int64)

Asked: TypeAlias = Query | HeadQueries
"""B queries, encoded or not."""


Check = Callable[[], None]
"""Called between two steps; what it raises ends the work."""


def no_check() -> None:
    """Go on."""


class Search(NamedTuple):
    """What is wanted of a batch of B queries.

    Attributes:
        k: answers to each, at least 1.
        excluded: rows that are no answers.
        allowed: ascending rows, the only ones that are answers; None for all.
        exact: certify each answer, whatever that takes.
        check: called between two steps; what it raises ends the work.
    """

    k: int
    excluded: Exclusions
    allowed: Rows | None = None
    exact: bool = True
    check: Check = no_check


class TableSearch(Protocol):
    """Search over one entity table (``Retriever``)."""

    scorer: ProductScorer

    def search(self, asked: Asked, wanted: Search) -> Results:
        """Return the k best rows of each query."""

    def scores(self, query: Query, rows: Rows | None = None) -> Float64:
        """Return scores [B, K] of ``rows`` [K], or of all entities."""

    def priors(self, query: Query, owners: Rows, rows: Floats) -> Float64 | None:
        """Return relation priors [n] of rows [n, W] for their queries; None without any."""


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
    everywhere: Rows = field(default_factory=lambda: _NO_ROWS)

    @classmethod
    def none(cls, queries: int) -> Exclusions:
        """Return no pair."""
        return cls(queries, _NO_ROWS, _NO_ROWS)

    @classmethod
    def of_pairs(cls, owners: Rows, rows: Rows, queries: int) -> Exclusions:
        """Return pairs that come in any order."""
        if queries == 1:
            return cls(queries, owners, rows)
        order = owners.argsort(kind="stable")
        return cls(queries, owners[order], rows[order])

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


class Candidates(NamedTuple):
    """Rows for some queries that follow each other in a batch.

    Attributes:
        start: the first of the queries.
        query: b of them, encoded.
        owners: int64 [n], ascending, in [0, b): the query of each row.
        rows: int64 [n], not excluded and distinct within a query, in any order.
        unseen: returns float64 [b], an exact product that no other row exceeds that the query may
            be answered with; minus infinity where there is no other row.
    """

    start: int
    query: Query
    owners: Rows
    rows: Rows
    unseen: Callable[[], Float64]


class CandidateIndex(Protocol):
    """One index over one table. Threads may share it.

    Attributes:
        narrows: whether it can search among a few allowed rows.
        is_top: whether ``nearest`` always returns every row with one of the k greatest exact
            products; a score that rises with the product then needs no certificate.
    """

    narrows: bool
    is_top: bool

    def nearest(
        self, asked: Asked, k: int, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """Return k rows for each query and more, where there are so many, a few queries at a time.

        Args:
            asked: B queries.
            k: at least 1.
            excluded: rows that are no answers.
            allowed: ascending rows, the only ones that are answers; None for all.
        """

    def above(
        self, asked: Asked, floors: Float64, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """Return every row whose exact product is at least its query's floor [B], and others."""

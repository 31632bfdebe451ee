"""What every index type does: return rows with large products, and bound all others.

An index never decides an answer. It returns rows; ``Retriever`` scores them in float64 from the
table, and the bound tells whether a row that was not returned could belong to the answer. So types
differ in speed, memory and how often an answer is certified at once, never in a certified answer.

    type     rows come from                                              memory of a process
    int8     the table in bytes, multiplied exactly (``int8.py``)        D + 4 bytes an entity
    table    FAISS over the mapped table itself (``faiss_table.py``)     none
    ivf      FAISS over a few inverted lists of codes (``ivf.py``)       none

Shape letters: B queries, n pairs of a query and a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from mulde.typing import Float64, Rows
from serving.engine.exclusions import Exclusions
from serving.engine.scoring import Query


class Candidates(NamedTuple):
    """Rows for the queries ``start`` to ``stop`` of a batch.

    Attributes:
        start, stop: the queries.
        owners: int64 [n], ascending, in [start, stop): the query of each row.
        rows: int64 [n], not excluded and distinct within a query, in any order.
        unseen: returns float64 [stop - start], an exact product that no other row exceeds that the
            query may be answered with; minus infinity where there is no other row.
    """

    start: int
    stop: int
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
        self, query: Query, k: int, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """Return k rows for each query and more, where there are so many, a few queries at a time.

        Args:
            query: B queries.
            k: at least 1.
            excluded: rows that are no answers.
            allowed: ascending rows, the only ones that are answers; None for all.
        """

    def above(
        self, query: Query, floors: Float64, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """Return every row whose exact product is at least its query's floor [B], and others."""

"""What every kind of index does: name rows of great inner product, and bound what it missed.

A kind never decides an answer. It names rows; ``Retriever`` scores them in float64 from the
table, and the certificate tells whether anything that was not named could belong to the answer. So
kinds differ in speed, memory and how often they are certain, never in what an exact answer is.

    kind     candidates come from                                       memory of a process
    int8     the table in bytes, multiplied exactly (``scan.py``)        D + 4 bytes an entity
    table    FAISS over the mapped table itself (``whole_table.py``)     none
    ivf      the most promising cells of codes of 8 bits (``cells.py``)  none

Shape letters: B queries, n pairs of a query and a row.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.engine.encoder import Query
from serving.engine.exclusions import Excluded, Rows

Array = NDArray[np.float64]


class View(Protocol):
    """Some queries, looked up. It serves until its thread looks up others.

    Pairs are the rows of queries: owners int64 [n], which say whose, and rows int64 [n], allowed
    and distinct within a query, in any order.

    Attributes:
        is_top: whether ``fetch`` always gives every allowed row with one of the k greatest
            products, in exact arithmetic; then a score that rises with the product needs no more.
    """

    is_top: bool

    def fetch(self, k: int) -> tuple[Rows, Rows]:
        """Pairs: k rows for each query and more, where so many are allowed and found."""

    def unseen(self) -> Array:
        """Products [B] that no allowed row which was not fetched exceeds, in exact arithmetic.

        Minus infinity where every allowed row was fetched; infinity where nothing is known.
        """

    def reach(self, which: Rows, floors: Array) -> tuple[Rows, Rows]:
        """Pairs: every allowed row whose exact product is at least its floor, perhaps others.

        Args:
            which: [n], the queries, ascending.
            floors: [n].
        """


class Candidates(Protocol):
    """One kind of index over one table.

    Attributes:
        narrows: whether it can look among a few allowed rows alone.
        queries: how many queries are best looked up at once.
    """

    narrows: bool
    queries: int

    def look(self, query: Query, excluded: Excluded, allowed: Rows | None) -> View:
        """Look queries up.

        Args:
            query: B of them.
            excluded: rows that are not allowed, for each query.
            allowed: ascending rows, the only ones allowed to any query; None for all.
        """

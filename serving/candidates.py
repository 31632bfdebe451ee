"""Sets of rows: what a query may be answered with, and what it may not.

Shape letters: B queries, F excluded rows of all queries together, N candidates, D dimension.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulde.layout import Layout
from serving.encoder import Query
from serving.index import EntityIndex, Table

Rows = NDArray[np.int64]
_DECODED_ROWS = 8192


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

    def holds(self, owners: Rows, rows: Rows) -> NDArray[np.bool_]:
        """Whether each (query, row) pair is excluded."""
        if not len(self.rows):
            return np.zeros(len(rows), dtype=bool)
        span = int(max(self.rows.max(), rows.max(initial=0))) + 1
        keys = self.owners * span + self.rows
        wanted = owners * span + rows
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.asarray(keys[places] == wanted)


class Candidates:
    """Rows of the table among which a batch is answered, as a matrix for products.

    The two halves of each scalar column are added, and columns that no query uses are left out:
    D + 2 columns instead of W.
    """

    def __init__(
        self, index: EntityIndex, layout: Layout, rows: Rows | None = None, *, keep: bool = True
    ) -> None:
        """Prepare the whole table, or some of it.

        Args:
            index: the table.
            layout: its columns.
            rows: ascending; None for all.
            keep: from its first use on, hold the matrix in memory (4 (D + 2) bytes a row);
                otherwise decode each tile each time.
        """
        self.index, self.layout, self.rows = index, layout, rows
        self.size = index.entities if rows is None else len(rows)
        self._keep = keep
        self._matrix: NDArray[np.float32] | None = None

    def _decode_all(self) -> NDArray[np.float32]:
        # Pages of its own, so that they go back to the system with the model.
        columns = self.layout.dimension + 2
        pages = mmap.mmap(-1, max(1, 4 * self.size * columns))
        matrix = np.frombuffer(pages, np.float32, self.size * columns).reshape(-1, columns)
        for start in range(0, self.size, _DECODED_ROWS):
            stop = min(start + _DECODED_ROWS, self.size)
            matrix[start:stop] = self._decode(start, stop)
        return matrix

    def _decode(self, start: int, stop: int) -> NDArray[np.float32]:
        if self.rows is None:
            return fold(self.layout, self.index.decode(start, stop))
        return fold(self.layout, self.index.rows(self.rows[start:stop]))

    def tiles(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start`` to ``stop`` of the matrix, [stop - start, D + 2]."""
        if not self._keep:
            return self._decode(start, stop)
        if self._matrix is None:
            self._matrix = self._decode_all()
        return self._matrix[start:stop]

    def queries(self, query: Query) -> NDArray[np.float32]:
        """The vectors for the matrix, [B, D + 2]."""
        layout, vector = self.layout, query.vector
        scalars = [vector[:, part.start, None] for part in (layout.excess, layout.tail_bias)]
        return np.concatenate([vector[:, layout.spatial], *scalars], axis=1)

    def rows_of(self, places: Rows) -> Rows:
        """Rows of the table at ``places`` of the matrix."""
        return places if self.rows is None else self.rows[places]

    def skipped(self, excluded: Excluded) -> tuple[Rows, Rows]:
        """Excluded rows as (place in the matrix, query), by ascending place."""
        places, owners = excluded.rows, excluded.owners
        if self.size == 0:
            return places[:0], owners[:0]
        if self.rows is not None:
            found = np.minimum(np.searchsorted(self.rows, places), len(self.rows) - 1)
            here = self.rows[found] == places
            places, owners = found[here], owners[here]
        order = np.argsort(places, kind="stable")
        return places[order], owners[order]


def fold(layout: Layout, table: Table) -> NDArray[np.float32]:
    """Rows [n, W] with the halves of excess and tail bias added, [n, D + 2]."""
    folded = np.empty((len(table), layout.dimension + 2), dtype=np.float32)
    folded[:, : layout.dimension] = table[:, layout.spatial]
    for column, part in enumerate((layout.excess, layout.tail_bias), layout.dimension):
        halves = table[:, part].astype(np.float32)
        folded[:, column] = halves[:, 0] + halves[:, 1]
    return folded

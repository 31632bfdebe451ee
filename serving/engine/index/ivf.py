"""Candidates from the most promising cells of the table: kind ``ivf``.

The rows are cut into cells of rows that lie near each other, and a query looks only into some. For
a cell with mean m, and lengths measured with each column weighed by w,

    max over the cell of <q, v>  <=  <q, m> + |q / w| reach,      reach = max |w (v - m)|
    what is to be expected there:    <q, m> + a |q / w| spread,   spread = rms |w (v - m)|

Cells are visited by what is to be expected; a plain <q, m> needs half as many cells again for the
same recall. The bound makes an answer certain where it is low for every cell that was left out. In
32 dimensions it seldom is: then an exact answer is one look through the whole table.

Shape letters: b queries, C cells, P probed, W width, n rows, M fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from mulde.bundle.bounds import Measures
from mulde.errors import BundleError
from serving.engine.checks.bundle import Extent
from serving.engine.entity_table import EntityIndex
from serving.engine.index.bounds import Claims, check_claims, measure_cells
from serving.engine.index.code_loss import Array, CodeLoss, Rows, Vectors, open_codes
from serving.engine.index.faiss_lists import WholeTable

_SPREAD = 0.4
"""a, by measurement on WN18RR and FB15k-237: .3 to .5 do equally well."""


class Cells:
    """Codes of 8 bits in cells; see ``lists.Source``."""

    def __init__(
        self,
        path: Path,
        table: EntityIndex,
        whole: WholeTable,
        weights: Array,
        probes: int,
        fetched: int,
        extent: Extent,
        claims: Claims | None = None,
    ) -> None:
        """Map the cells, and measure them against the table unless that was done.

        Args:
            path: ``candidates.faiss``, an inverted file of FAISS.
            table: the rows.
            whole: the same, searched where certainty is wanted.
            weights: [W], w; near the usual size of a query's numbers. 0 where queries have 0.
            probes: P.
            fetched: how many rows are scored beyond those that are asked for.
            extent: of the table.
            claims: what the bundle says of the cells, and whether that was seen to be so.

        Raises:
            BundleError: if the file is of another kind or size, a row is not in one cell, or the
                claims are not true.
        """
        self.entities, self.spare = table.entities, fetched
        self._whole = whole
        kind = faiss.IndexIVFScalarQuantizer
        self._path, self._index = path, open_codes(path, kind, table.entities, table.width)
        self.cells = int(self._index.nlist)
        self.probes = min(probes, self.cells)
        self._index.nprobe = self.probes
        if claims is None:
            self._check()
            self.measures = self._measure(table, extent, weights)
        else:
            self.measures = claims.measures
            if not claims.seen:
                self._check()
                self._check_claims(claims, table, extent, weights)
        self._use(self.measures)

    def _check(self) -> None:
        index = self._index
        if index.by_residual or index.sq.qtype != faiss.ScalarQuantizer.QT_8bit:
            raise BundleError(self._path, "expected codes of 8 bits of the rows themselves")
        seen = np.zeros(self.entities, dtype=bool)
        for rows, _ in self._members():
            inside = rows[(rows >= 0) & (rows < self.entities)]
            if len(inside) < len(rows) or seen[inside].any():
                raise BundleError(self._path, "expected each row in one cell")
            seen[inside] = True
        # There are as many entries as rows, and a cell may name a row twice.
        if not seen.all():
            raise BundleError(self._path, "expected each row in one cell")

    def _members(self) -> Iterator[tuple[Rows, NDArray[np.uint8]]]:
        """Rows [n] and codes [n, bytes] of each cell."""
        lists, index = self._index.invlists, self._index
        for cell in range(index.nlist):
            size = lists.list_size(cell)
            if not size:
                yield np.zeros(0, np.int64), np.zeros((0, index.code_size), np.uint8)
                continue
            rows: Any = faiss.rev_swig_ptr(lists.get_ids(cell), size)
            codes: Any = faiss.rev_swig_ptr(lists.get_codes(cell), size * index.code_size)
            yield rows, codes.reshape(size, -1)

    def _measure(
        self, table: EntityIndex, extent: Extent, weights: Array, means: Vectors | None = None
    ) -> Measures:
        return measure_cells(table, extent, self._members, self._index.sq, weights, means)

    def _check_claims(
        self, claims: Claims, table: EntityIndex, extent: Extent, weights: Array
    ) -> None:
        claimed = claims.measures
        if claimed.means.shape[1] != self.cells or (claimed.weights[weights > 0] <= 0).any():
            raise BundleError(claims.path, f"expected measures of these {self.cells} cells")
        found = self._measure(table, extent, claimed.weights, claimed.means)
        check_claims(claims.path, claimed, found)

    def _use(self, measures: Measures) -> None:
        weights = measures.weights
        self._inverse = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)
        self._means, self._reach, self._spread = measures.means, measures.reach, measures.spread
        self._loss = CodeLoss.of(measures.error, measures.length, measures.norm)

    def best(self, vectors: Vectors, count: int) -> tuple[Rows, Array]:
        """See ``lists.Source``."""
        middle = vectors @ self._means
        scaled = vectors * self._inverse
        length = np.sqrt(np.vecdot(scaled, scaled))[:, None]
        promise = middle + (_SPREAD * length).astype(np.float32) * self._spread
        last = self.cells - self.probes
        order = (
            np.argpartition(promise, last, axis=1)
            if last
            else np.tile(np.arange(self.cells), (len(vectors), 1))
        )
        chosen = np.ascontiguousarray(order[:, last:])
        nothing = np.zeros(chosen.shape, np.float32)
        products, rows = self._index.search_preassigned(vectors, count, chosen, nothing)
        return rows, self._unseen(vectors, middle, length, order[:, :last], products[:, -1])

    def _unseen(
        self, vectors: Vectors, middle: Vectors, length: Array, left: Rows, last: Vectors
    ) -> Array:
        """The bound of cells that were left out, and of rows that came after the last."""
        most = middle + length * self._reach
        loss = self._loss(vectors)
        beyond = np.take_along_axis(most, left, axis=1).max(axis=1, initial=-np.inf)
        # The loss covers what float32 may lose in <q, m>, too: a mean is no longer than a row.
        seen = np.where(last > np.finfo(np.float32).min, last.astype(np.float64), -np.inf)
        unseen: Array = np.maximum(beyond, seen) + loss
        return unseen

    @property
    def surest(self) -> WholeTable:
        """See ``lists.Source``."""
        return self._whole

"""Index type ``ivf``: FAISS over the most promising inverted lists of the table.

The rows are cut into lists of rows that lie near each other, and a query searches some of them. For
a list with mean m, and lengths measured with each column weighed by w,

    max over the list of <q, v>  <=  <q, m> + |q / w| reach,      reach = max |w (v - m)|
    what is expected there:          <q, m> + a |q / w| spread,   spread = rms |w (v - m)|

Lists are searched by what is expected; a plain <q, m> needs half as many lists again for the same
recall. The bound certifies an answer where it is low for every list that was not searched. In 32
dimensions it seldom is: then a certified answer takes a scan of the whole table.

Shape letters: b queries, C lists, P searched ("nprobe"), W width, n rows, K fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from mulde.bundle.manifest import Index
from mulde.bundle.table.bounds import TableBounds
from mulde.errors import BundleError
from mulde.typing import Bytes, Float32, Float64, Rows
from serving.engine.entity_table import EntityTable
from serving.engine.index.bounds import (
    CodeLoss,
    StoredBounds,
    check_stored,
    measure_cells,
)

_SPREAD = 0.4
"""a, by measurement on WN18RR and FB15k-237: .3 to .5 do equally well."""


class InvertedLists:
    """Codes of 8 bits in inverted lists; see ``faiss_table.Source``."""

    def __init__(
        self,
        path: Path,
        table: EntityTable,
        index: Index,
        weights: Float64,
        extent: tuple[float, float],
        stored: StoredBounds | None = None,
    ) -> None:
        """Map the lists, and measure them against the table unless that was done.

        Args:
            path: ``candidates.faiss``, an inverted file of FAISS.
            table: the rows.
            index: the manifest's: P, and how many rows to fetch beyond those that are asked for.
            weights: [W], w; near the usual size of a query's numbers. 0 where queries have 0.
            extent: the largest norm of a row, and the largest tail bias.
            stored: the bundle's bounds of the lists.

        Raises:
            BundleError: if the file is missing, of another kind or size, a row is not in one list,
                or a row exceeds a stored bound.
        """
        self.entities, self.spare = table.entities, index.fetched
        self._path, self._index = path, _mapped(path, table)
        self.cells = int(self._index.nlist)
        self.probes = min(index.probes, self.cells)
        self._index.nprobe = self.probes
        self.measures = self._bounds(table, weights, extent, stored)
        weights = self.measures.weights
        self._inverse = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)
        self._loss = CodeLoss.of(self.measures)

    def _bounds(
        self,
        table: EntityTable,
        weights: Float64,
        extent: tuple[float, float],
        stored: StoredBounds | None,
    ) -> TableBounds:
        """Return the stored bounds, verified; else the measured ones."""
        if stored is not None and stored.verified:
            return stored.measures
        self._check_members()
        decoder = self._index.sq
        if stored is None:
            return measure_cells(table, extent, self._members, decoder, weights)
        told = stored.measures
        if told.means.shape[1] != self.cells or (told.weights[weights > 0] <= 0).any():
            raise BundleError(stored.path, f"expected measures of these {self.cells} cells")
        found = measure_cells(table, extent, self._members, decoder, told.weights, told.means)
        check_stored(stored.path, told, found)
        return told

    def _check_members(self) -> None:
        """Refuse lists that do not hold each row once."""
        seen = np.zeros(self.entities, dtype=bool)
        for rows, _ in self._members():
            inside = rows[(rows >= 0) & (rows < self.entities)]
            if len(inside) < len(rows) or seen[inside].any():
                raise BundleError(self._path, "expected each row in one cell")
            seen[inside] = True
        # There are as many entries as rows, and a list may name a row twice.
        if not seen.all():
            raise BundleError(self._path, "expected each row in one cell")

    def _members(self) -> Iterator[tuple[Rows, Bytes]]:
        """Return the rows [n] and codes [n, bytes] of each list."""
        lists, index = self._index.invlists, self._index
        for cell in range(index.nlist):
            size = lists.list_size(cell)
            if not size:
                yield np.zeros(0, np.int64), np.zeros((0, index.code_size), np.uint8)
                continue
            rows: Any = faiss.rev_swig_ptr(lists.get_ids(cell), size)
            codes: Any = faiss.rev_swig_ptr(lists.get_codes(cell), size * index.code_size)
            yield rows, codes.reshape(size, -1)

    def best(self, vectors: Float32, count: int) -> tuple[Rows, Float64]:
        """See ``faiss_table.Source``."""
        middle = vectors @ self.measures.means
        scaled = vectors * self._inverse
        length = np.sqrt(np.vecdot(scaled, scaled))[:, None]
        promise = middle + (_SPREAD * length).astype(np.float32) * self.measures.spread
        last = self.cells - self.probes
        order = np.argpartition(promise, last, axis=1)
        chosen = np.ascontiguousarray(order[:, last:])
        nothing = np.zeros(chosen.shape, np.float32)
        products, rows = self._index.search_preassigned(vectors, count, chosen, nothing)
        most = np.take_along_axis(middle + length * self.measures.reach, order[:, :last], axis=1)
        return rows, self._unseen(vectors, most, products[:, -1])

    def _unseen(self, vectors: Float32, most: Float64, last: Float32) -> Float64:
        """Return the bound of lists that were left out, and of rows that came after the last.

        Args:
            vectors: [b, W].
            most: [b, C - P], of the lists that were left out.
            last: [b], the least product that was returned.
        """
        beyond = most.max(axis=1, initial=-np.inf)
        # The loss covers what float32 may lose in <q, m>, too: a mean is no longer than a row.
        seen = np.where(last > np.finfo(np.float32).min, last.astype(np.float64), -np.inf)
        unseen: Float64 = np.maximum(beyond, seen) + self._loss(vectors)
        return unseen


def _mapped(path: Path, table: EntityTable) -> Any:
    """Map an inverted file of codes of 8 bits.

    Raises:
        BundleError: if it is missing, FAISS refuses it, or it is another index.
    """
    if not path.is_file():
        raise BundleError(path, "an index of type ivf needs this file")
    try:
        index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise BundleError(path, f"FAISS refuses it: {error}") from error
    kind = faiss.IndexIVFScalarQuantizer
    found = type(index), index.metric_type, index.ntotal, index.d
    if found != (kind, faiss.METRIC_INNER_PRODUCT, table.entities, table.width):
        wanted = f"{kind.__name__} of {table.entities} rows and {table.width} columns"
        name = type(index).__name__
        raise BundleError(path, f"expected {wanted}, by inner product, found {name} of {found[2:]}")
    if index.by_residual or index.sq.qtype != faiss.ScalarQuantizer.QT_8bit:
        raise BundleError(path, "expected codes of 8 bits of the rows themselves")
    return index

"""Candidates from codes beside the table, ``candidates.faiss``: kinds ``sq8`` and ``pq``.

What a code loses is measured against the table when it is opened, column by column and row by row,
so that nothing has to be believed. For a query q, a row v and what its code stands for, v~,

    |<q, v> - <q, v~>| <= min(sum_i |q_i| e_i, |q e| r)

where e is the largest error in each column and r the largest length of a row's errors, each in
units of its column's e.

Shape letters: b queries, W width, n rows, M fetched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from serving.engine.entity_table import EntityIndex
from serving.engine.index.faiss_lists import DECODING, WholeTable
from serving.engine.index.rounding import float32_loss

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]

_DECODED_ROWS = 8192


class CodeLoss:
    """The bound above, and what float32 loses on top of it."""

    def __init__(self, width: int) -> None:
        """Nothing lost so far, in ``width`` columns.

        Attributes:
            error: [W], e.
            length: the largest square of r.
            norm: the largest square of a row's length, decoded or not.
        """
        self._width = width
        self.error, self.length, self.norm = np.zeros(width), 0.0, 0.0

    @classmethod
    def of(cls, error: Array, length: float, norm: float) -> CodeLoss:
        """What was measured before."""
        loss = cls(len(error))
        loss.error, loss.length, loss.norm = error, length, norm
        return loss

    def see(self, rows: NDArray[np.floating], decoded: Vectors) -> None:
        """Widen the largest error of each column to that of these rows, both [n, W]."""
        lost = np.abs(rows.astype(np.float64) - decoded)
        self.error = np.maximum(self.error, lost.max(axis=0, initial=0.0))
        for seen in (decoded, rows.astype(np.float64)):
            self.norm = max(self.norm, float(np.vecdot(seen, seen).max(initial=0.0)))

    def measure(self, rows: NDArray[np.floating], decoded: Vectors) -> None:
        """Widen the length, once every row was seen."""
        lost = (rows.astype(np.float64) - decoded) / np.where(self.error > 0, self.error, 1.0)
        self.length = max(self.length, float(np.vecdot(lost, lost).max(initial=0.0)))

    def __call__(self, vectors: Vectors) -> Array:
        """By how much products with ``vectors`` [b, W] may be wrong, [b]."""
        wide = np.abs(vectors.astype(np.float64)) * self.error
        length = np.sqrt(np.vecdot(wide, wide) * self.length) * (1 + 1e-9)
        loss: Array = np.minimum(wide.sum(axis=1) * (1 + 1e-9), length)
        norm = float(np.sqrt(self.norm)) * (1 + 1e-6)
        return loss + float32_loss(vectors, norm, self._width, DECODING)


def open_codes(path: Path, kind: type, entities: int, width: int) -> Any:
    """Map an index of FAISS.

    Raises:
        BundleError: if FAISS refuses it, or it is another kind or has another size.
    """
    try:
        index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise BundleError(path, f"FAISS refuses it: {error}") from error
    found = type(index), index.metric_type, index.ntotal, index.d
    if found != (kind, faiss.METRIC_INNER_PRODUCT, entities, width):
        wanted = f"{kind.__name__} of {entities} rows and {width} columns, by inner product"
        raise BundleError(path, f"expected {wanted}, found {type(index).__name__} of {found[2:]}")
    return index


class Codes:
    """Codes of 8 bits, each column with a range of its own; see ``lists.Source``."""

    def __init__(self, path: Path, table: EntityIndex, fetched: int) -> None:
        """Map them and measure what they lose.

        Args:
            path: ``candidates.faiss``.
            table: the rows that they stand for.
            fetched: how many rows are scored beyond those that are asked for.

        Raises:
            BundleError: if they are of another kind or size.
        """
        self.entities, self.spare = table.entities, fetched
        kind = faiss.IndexScalarQuantizer
        self._index = open_codes(path, kind, table.entities, table.width)
        self._loss = CodeLoss(table.width)
        for measure in (self._loss.see, self._loss.measure):
            for start in range(0, self.entities, _DECODED_ROWS):
                count = min(_DECODED_ROWS, self.entities - start)
                decoded = self._index.reconstruct_n(start, count)
                measure(table.decode(start, start + count), decoded)

    def best(self, vectors: Vectors, count: int) -> tuple[Rows, Array]:
        """See ``lists.Source``."""
        products, rows = self._index.search(vectors, count)
        if count == self.entities:
            return rows, np.full(len(vectors), -np.inf)
        return rows, products[:, -1] + self._loss(vectors)

    @property
    def surest(self) -> Codes:
        """See ``lists.Source``."""
        return self


class ProductCodes:
    """Codes of 4 bits for groups of columns, compared by table look-up; see ``lists.Source``.

    FAISS rounds its look-up tables to bytes, and a code of 4 bits says little about a coordinate:
    no bound is worth having, so nothing is certain before everything was fetched from the table.
    """

    def __init__(self, path: Path, whole: WholeTable, fetched: int) -> None:
        """Map them.

        Args:
            path: ``candidates.faiss``.
            whole: the table that they stand for, searched where certainty is wanted.
            fetched: how many rows are scored beyond those that are asked for.

        Raises:
            BundleError: if they are of another kind or size.
        """
        self.entities, self.spare, self._whole = whole.entities, fetched, whole
        kind = faiss.IndexPQFastScan
        self._index = open_codes(path, kind, whole.entities, whole.width)

    def best(self, vectors: Vectors, count: int) -> tuple[Rows, Array]:
        """See ``lists.Source``."""
        _, rows = self._index.search(vectors, count)
        certain = -np.inf if count == self.entities and (rows >= 0).all() else np.inf
        return rows, np.full(len(vectors), certain)

    @property
    def surest(self) -> WholeTable:
        """See ``lists.Source``."""
        return self._whole

"""Bound the error of products with quantised codes.

The error of a code is measured against the table, column by column and row by row. For a query q,
a row v and its decoded code v~,

    |<q, v> - <q, v~>| <= min(sum_i |q_i| e_i, |q e| r)

where e is the largest error in each column and r the largest length of a row's errors, each in
units of its column's e.

Shape letters: b queries, W width, n rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from serving.engine.index.faiss_lists import DECODING
from serving.engine.index.rounding import float32_loss

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]


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

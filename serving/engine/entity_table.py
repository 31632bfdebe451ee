"""The entity table in its FAISS file: rows by number, and candidates by greatest inner product.

The codes of the index are the table (docs/explanation/bundle-format.md).
They are mapped, so that the processes
of a server share one copy, and they are never copied as a whole.

Shape letters: E entities, W width, B queries, M candidates of a query, n rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from mulde.bundle.checks.faiss_header import check_table
from mulde.bundle.table.entity_table import Layout
from mulde.bundle.table.quantised_table import Codec
from mulde.errors import BundleError

Table = NDArray[np.float16] | NDArray[np.float32]

_SCANNED_ROWS = 8192


class EntityTable:
    """``entities.faiss``, mapped."""

    def __init__(self, path: Path, entities: int, width: int) -> None:
        """Map the file.

        Args:
            path: a FAISS inner-product index, Flat or with scalars of 16, 8 or 4 bits.
            entities: E, as the manifest says.
            width: W, likewise.

        Raises:
            BundleError: if FAISS refuses the file, or it is of another kind or size.
        """
        self.path, self.entities, self.width = path, entities, width
        self._number = check_table(path, entities, width)
        try:
            self._index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise BundleError(path, f"FAISS refuses it: {_first_line(error)}") from error
        self._codes = self._map_codes()

    def _map_codes(self) -> NDArray[np.uint8]:
        """The mapped codes as bytes [E, bytes of a row]."""
        codes: Any = faiss.rev_swig_ptr(self._index.codes.data(), self._index.codes.size())
        mapped: NDArray[np.uint8] = codes.reshape(self.entities, -1)
        return mapped

    @property
    def magnitude(self) -> float:
        """The largest length of a row's numbers while FAISS decodes them; 0 if it need not."""
        number = self._number
        if not isinstance(number, Codec):
            return 0.0
        return float(np.linalg.norm(np.abs(number.low) + np.abs(number.span), axis=0))

    def rows(self, rows: NDArray[np.integer]) -> Table:
        """Rows of the table, [..., W] for ``rows`` [...]: halves as such, all else as float32."""
        taken = self._codes.take(rows.reshape(-1), axis=0)
        return self._numbers(taken).reshape(*rows.shape, self.width)

    def _numbers(self, codes: NDArray[np.uint8]) -> Table:
        number = self._number
        if isinstance(number, Codec):
            return number.decode(codes)
        table: Any = codes.view(number)
        halves_or_floats: Table = table
        return halves_or_floats

    def decode(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start`` to ``stop`` of the table as float32 [n, W]."""
        return self._numbers(self._codes[start:stop]).astype(np.float32)

    def search(
        self, queries: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``count`` rows of greatest inner product.

        Args:
            queries: [B, W].
            count: M, in [1, E].

        Returns:
            products [B, M], descending and rounded as float32 rounds, and rows [B, M].
        """
        products, rows = self._index.search(queries, count)
        return products, rows


class Extent(NamedTuple):
    """The largest numbers of a table.

    Attributes:
        row_norm: the largest Euclidean norm of a row.
        tail_bias: the largest tail bias.
    """

    row_norm: float
    tail_bias: float


def scan_table(table: EntityTable, layout: Layout) -> Extent:
    """Read every row once and return the extent.

    Raises:
        BundleError: if a number is not finite.
    """
    square, bias = 0.0, -np.inf
    for start in range(0, table.entities, _SCANNED_ROWS):
        rows = table.decode(start, min(start + _SCANNED_ROWS, table.entities))
        if not np.isfinite(rows).all():  # else a NaN would be lost in the maxima
            raise BundleError(table.path, "a row is not finite")
        wide = rows.astype(np.float64)
        square = max(square, float(np.vecdot(wide, wide).max()))
        bias = max(bias, float(wide[:, layout.tail_bias].sum(axis=1).max()))
    return Extent(float(np.sqrt(square)), bias)


def use_threads(count: int) -> None:
    """Let FAISS use ``count`` threads for calls from this thread (OpenMP counts per caller)."""
    faiss.omp_set_num_threads(count)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

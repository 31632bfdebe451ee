"""Bounds that every row of a table and its inverted lists keeps: measured, or stored and verified.

Measuring reads each row once. A bundle may store the result (``measures.bin``). A
process that verifies the bundle reads each row and refuses stored bounds that a row exceeds. One
that opens what was just verified does not read the table.

For a query q, a row v and its decoded code v~,

    |<q, v> - <q, v~>| <= min(sum_i |q_i| e_i, |q e| r)

where e is the largest error in each column and r the largest length of a row's errors, each in
units of its column's e.

Shape letters: B queries, W width, C lists, n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mulde.bundle.bundle import Bundle
from mulde.bundle.files import MEASURES
from mulde.bundle.table.bounds import TableBounds
from mulde.errors import BundleError
from mulde.typing import Bytes, Float32, Float64, Floats, Rows
from serving.engine.entity_table import EntityTable

DECODING = 6
"""Roundings of float32 while FAISS decodes a number."""

_UNIT_32 = 2.0**-24
_ROUNDINGS = 2
"""Besides those of a sum: columns may have been added before they were multiplied."""
_TINY = 1e-30
_SLACK = 1e-9
_MARGIN = 1e-7
"""Bounds are stored with so much more, for another machine may add in another order."""

_PART = 256

Member = tuple[Rows, Bytes]
Members = Callable[[], Iterator[Member]]


class CodeLoss:
    """The largest errors of codes, and what they and float32 lose in a product."""

    def __init__(self, width: int) -> None:
        """Start with no error in ``width`` columns.

        Attributes:
            error: [W], e.
            length: the largest square of r.
            norm: the largest square of a row's length, decoded or not.
        """
        self._width = width
        self.error, self.length, self.norm = np.zeros(width), 0.0, 0.0

    @classmethod
    def of(cls, measures: TableBounds) -> CodeLoss:
        """Return what was measured before."""
        loss = cls(len(measures.error))
        loss.error, loss.length, loss.norm = measures.error, measures.length, measures.norm
        return loss

    def see(self, rows: Floats, decoded: Float32) -> None:
        """Widen the largest error of each column to that of these rows, both [n, W]."""
        wide = rows.astype(np.float64)
        self.error = np.maximum(self.error, np.abs(wide - decoded).max(axis=0, initial=0.0))
        for seen in (decoded, wide):
            self.norm = max(self.norm, float(np.vecdot(seen, seen).max(initial=0.0)))

    def measure(self, rows: Floats, decoded: Float32) -> None:
        """Widen the length, once every row was seen."""
        lost = (rows.astype(np.float64) - decoded) / np.where(self.error > 0, self.error, 1.0)
        self.length = max(self.length, float(np.vecdot(lost, lost).max(initial=0.0)))

    def __call__(self, vectors: Float32) -> Float64:
        """Return by how much products with ``vectors`` [B, W] may be wrong, [B]."""
        wide = np.abs(vectors.astype(np.float64)) * self.error
        length = np.sqrt(np.vecdot(wide, wide) * self.length) * (1 + _SLACK)
        loss: Float64 = np.minimum(wide.sum(axis=1) * (1 + _SLACK), length)
        norm = float(np.sqrt(self.norm)) * (1 + 1e-6)
        return loss + float32_loss(vectors, norm, self._width, DECODING)


@dataclass(frozen=True)
class StoredBounds:
    """The bounds that a bundle stores.

    Attributes:
        path: of ``measures.bin``.
        measures: the bounds.
        verified: whether another process has just seen that no row exceeds them.
    """

    path: Path
    measures: TableBounds
    verified: bool

    @classmethod
    def of(cls, bundle: Bundle) -> StoredBounds | None:
        """Return those of a bundle; None if it has none."""
        if bundle.measures is None:
            return None
        return cls(bundle.file(MEASURES), bundle.measures, verified=not bundle.verified)


class Decoder(Protocol):
    """What turns codes into numbers."""

    def decode(self, codes: Bytes) -> Float32:
        """Codes [n, bytes] to rows [n, W]."""


def measure_cells(
    table: EntityTable,
    extent: tuple[float, float],
    members: Members,
    decoder: Decoder,
    weights: Float64,
    means: Float32 | None = None,
) -> TableBounds:
    """Look at each row, cell by cell.

    Args:
        table: the rows.
        extent: the largest norm of a row, and the largest tail bias.
        members: rows [n] and codes [n, bytes] of each cell, in turn.
        decoder: of the codes.
        weights: [W], see ``cells``.
        means: [W, C], what to measure the reach from; by default the cells' own.

    Returns:
        TableBounds that hold for every row, and would not if they were less.
    """
    loss = CodeLoss(table.width)
    for _, rows, codes in _parts(members()):
        loss.see(table.rows(rows), decoder.decode(codes))
    middles = _means(table, members()) if means is None else means
    cells = middles.shape[1]
    reach, spread, sizes = np.full(cells, -np.inf), np.zeros(cells), np.zeros(cells)
    for cell, rows, codes in _parts(members()):
        wide = table.rows(rows).astype(np.float64)
        loss.measure(wide, decoder.decode(codes))
        # The mean in float32 is the mean: the reach is measured from it as it will be used.
        apart = np.square((wide - middles[:, cell]) * weights).sum(axis=1)
        reach[cell] = max(reach[cell], float(np.sqrt(apart.max())) * (1 + _SLACK))
        spread[cell] += apart.sum()
        sizes[cell] += len(rows)
    return TableBounds(
        row_norm=extent[0],
        tail_bias=extent[1],
        length=loss.length,
        norm=loss.norm,
        weights=weights,
        error=loss.error,
        reach=reach,
        spread=np.sqrt(spread / np.maximum(sizes, 1)).astype(np.float32),
        means=middles,
    )


def _parts(members: Iterable[Member]) -> Iterator[tuple[int, Rows, Bytes]]:
    """Cell, rows and codes of a few rows at a time.

    What is computed of them fits the processor's cache, and the C library's heap: larger blocks
    come from the system page by page where memory is given back at once.
    """
    for cell, (rows, codes) in enumerate(members):
        for start in range(0, len(rows), _PART):
            yield cell, rows[start : start + _PART], codes[start : start + _PART]


def _means(table: EntityTable, members: Iterable[Member]) -> Float32:
    """The mean of each cell, [W, C]; 0 where a cell is empty."""
    means = [
        table.rows(rows).astype(np.float64).mean(axis=0) if len(rows) else np.zeros(table.width)
        for rows, _ in members
    ]
    return np.ascontiguousarray(np.stack(means, axis=1).astype(np.float32))


def with_margin(measures: TableBounds) -> TableBounds:
    """The same, a little wider, to be written and to hold on every machine."""
    more = 1 + _MARGIN
    return TableBounds(
        row_norm=measures.row_norm * more,
        tail_bias=measures.tail_bias + _MARGIN * abs(measures.tail_bias),
        length=measures.length * more,
        norm=measures.norm * more,
        weights=measures.weights,
        error=measures.error * more,
        reach=measures.reach * more,
        spread=measures.spread,
        means=measures.means,
    )


def check_stored(path: Path, stored: TableBounds, found: TableBounds) -> None:
    """Refuse stored bounds that a row exceeds.

    Args:
        path: of the stored bounds.
        stored: what the bundle says.
        found: what was measured, from the stored means and with the stored weights.

    Raises:
        BundleError: naming the measure.
    """
    for name in ("length", "norm", "error", "reach"):
        if (np.asarray(getattr(found, name)) > np.asarray(getattr(stored, name))).any():
            raise BundleError(path, f"a row exceeds a stored bound: {name}")
    # What float32 loses in a product with a mean is bounded as for a row.
    if (np.square(stored.means, dtype=np.float64).sum(axis=0) > stored.norm).any():
        raise BundleError(path, "a mean is longer than the stored bound of rows: norm")


def float32_loss(vectors: Float32, row_norm: float, width: int, more: int = 0) -> Float64:
    """Return by how much float32 products of queries [B, W] may be wrong, [B].

    A sum of n products in float32, in any order and with or without fused multiply-add, differs
    from the exact one by at most gamma_n |q| |v|, with gamma_n = n u / (1 - n u) and u = 2^-24.

    Args:
        vectors: float32 [B, W].
        row_norm: the largest Euclidean norm of a row.
        width: W.
        more: further roundings of each number, such as in decoding it.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1.
    """
    error = (width + _ROUNDINGS + more) * _UNIT_32
    gamma = error / (1.0 - error)
    wide = vectors.astype(np.float64)
    loss: Float64 = gamma * row_norm * np.sqrt(np.vecdot(wide, wide)) + _TINY
    return loss

"""What holds for every row of a table and its cells: measured, and compared with what is claimed.

To measure takes one look at each row, in memory or not. A bundle may carry the result
(``measures.bin``), and then whoever verifies it looks at each row all the same and refuses what
is not so; after that, the table need not be read to be opened.

Shape letters: W width, C cells, n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.bounds import Measures
from mulde.bundle.bundle import MEASURES, Bundle
from mulde.bundle.entity_table import Layout
from mulde.errors import BundleError
from serving.engine.checks.bundle import Extent, scan_table
from serving.engine.entity_table import EntityIndex
from serving.engine.index.code_loss import Array, CodeLoss, Rows, Vectors

_SLACK = 1e-9
_MARGIN = 1e-7
"""Measures are written with so much more, for another machine may add in another order."""

_PIECE = 256

Member = tuple[Rows, NDArray[np.uint8]]
Members = Callable[[], Iterator[Member]]


@dataclass(frozen=True)
class Claims:
    """What a bundle says of its table and cells.

    Attributes:
        path: of ``measures.bin``.
        measures: what it says.
        seen: whether another process has just seen that no row exceeds them.
    """

    path: Path
    measures: Measures
    seen: bool

    @classmethod
    def of(cls, bundle: Bundle) -> Claims | None:
        """A bundle's; None if it says nothing."""
        if bundle.measures is None:
            return None
        return cls(bundle.file(MEASURES), bundle.measures, seen=not bundle.verified)


def extent_of(table: EntityIndex, layout: Layout, claims: Claims | None) -> Extent:
    """How large the numbers of a table are: as claimed, once that was seen to be so.

    Raises:
        BundleError: if a number is not finite, or exceeds what is claimed.
    """
    if claims is None:
        return scan_table(table, layout)
    claimed = Extent(claims.measures.row_norm, claims.measures.tail_bias)
    if not claims.seen:
        found = scan_table(table, layout)
        if found.row_norm > claimed.row_norm or found.tail_bias > claimed.tail_bias:
            raise BundleError(claims.path, "a row exceeds what is claimed: its norm or its bias")
    return claimed


class Decoder(Protocol):
    """What turns codes into numbers."""

    def decode(self, codes: NDArray[np.uint8]) -> Vectors:
        """Codes [n, bytes] to rows [n, W]."""


def measure_cells(
    table: EntityIndex,
    extent: Extent,
    members: Members,
    decoder: Decoder,
    weights: Array,
    means: Vectors | None = None,
) -> Measures:
    """Look at each row, cell by cell.

    Args:
        table: the rows.
        extent: of the table.
        members: rows [n] and codes [n, bytes] of each cell, in turn.
        decoder: of the codes.
        weights: [W], see ``cells``.
        means: [W, C], what to measure the reach from; by default the cells' own.

    Returns:
        Measures that hold for every row, and would not if they were less.
    """
    loss = CodeLoss(table.width)
    for _, rows, codes in _pieces(members()):
        loss.see(table.rows(rows), decoder.decode(codes))
    middles = _means(table, members()) if means is None else means
    cells = middles.shape[1]
    reach, spread, sizes = np.full(cells, -np.inf), np.zeros(cells), np.zeros(cells)
    for cell, rows, codes in _pieces(members()):
        wide = table.rows(rows).astype(np.float64)
        loss.measure(wide, decoder.decode(codes))
        # The mean in float32 is the mean: the reach is measured from it as it will be used.
        apart = np.square((wide - middles[:, cell]) * weights).sum(axis=1)
        reach[cell] = max(reach[cell], float(np.sqrt(apart.max())) * (1 + _SLACK))
        spread[cell] += apart.sum()
        sizes[cell] += len(rows)
    return Measures(
        row_norm=extent.row_norm,
        tail_bias=extent.tail_bias,
        length=loss.length,
        norm=loss.norm,
        weights=weights,
        error=loss.error,
        reach=reach,
        spread=np.sqrt(spread / np.maximum(sizes, 1)).astype(np.float32),
        means=middles,
    )


def _pieces(members: Iterable[Member]) -> Iterator[tuple[int, Rows, NDArray[np.uint8]]]:
    """Cell, rows and codes of a few rows at a time.

    What is computed of them fits the processor's cache, and the C library's heap: larger blocks
    come from the system page by page where memory is given back at once.
    """
    for cell, (rows, codes) in enumerate(members):
        for start in range(0, len(rows), _PIECE):
            yield cell, rows[start : start + _PIECE], codes[start : start + _PIECE]


def _means(table: EntityIndex, members: Iterable[Member]) -> Vectors:
    """The mean of each cell, [W, C]; 0 where a cell is empty."""
    means = [
        table.rows(rows).astype(np.float64).mean(axis=0) if len(rows) else np.zeros(table.width)
        for rows, _ in members
    ]
    return np.ascontiguousarray(np.stack(means, axis=1).astype(np.float32))


def with_margin(measures: Measures) -> Measures:
    """The same, a little wider, to be written and to hold on every machine."""
    more = 1 + _MARGIN
    return Measures(
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


def check_claims(path: Path, claimed: Measures, found: Measures) -> None:
    """Refuse measures that a row exceeds.

    Args:
        path: of the claims, to name.
        claimed: what the bundle says.
        found: what was measured, from the claimed means and with the claimed weights.

    Raises:
        BundleError: naming the measure.
    """
    for name in ("length", "norm", "error", "reach"):
        if (np.asarray(getattr(found, name)) > np.asarray(getattr(claimed, name))).any():
            raise BundleError(path, f"a row exceeds what is claimed: {name}")
    # What float32 loses in a product with a mean is bounded as for a row.
    if (np.square(claimed.means, dtype=np.float64).sum(axis=0) > claimed.norm).any():
        raise BundleError(path, "a mean is longer than what is claimed of rows: norm")

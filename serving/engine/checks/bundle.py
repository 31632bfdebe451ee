"""What a server relies on in a bundle's table and encoder, looked at once when it opens.

Shape letters: B queries, E entities, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mulde.bundle.entity_table import Layout
from mulde.errors import BundleError
from serving.engine.encoder import Query
from serving.engine.entity_table import EntityIndex

_SCANNED_ROWS = 8192


@dataclass(frozen=True)
class Extent:
    """How large the numbers of a table are.

    Attributes:
        row_norm: the largest Euclidean norm of a row.
        tail_bias: the largest tail bias.
    """

    row_norm: float
    tail_bias: float


def scan_table(index: EntityIndex, layout: Layout) -> Extent:
    """Read every row once.

    Raises:
        BundleError: if a number is not finite.
    """
    square, bias = 0.0, -np.inf
    for start in range(0, index.entities, _SCANNED_ROWS):
        stop = min(start + _SCANNED_ROWS, index.entities)
        rows = index.decode(start, stop)
        if not np.isfinite(rows).all():  # else a NaN would be lost in the maxima
            raise BundleError(index.path, "a row is not finite")
        wide = rows.astype(np.float64)
        square = max(square, float(np.vecdot(wide, wide).max()))
        bias = max(bias, float(wide[:, layout.tail_bias].sum(axis=1).max()))
    return Extent(float(np.sqrt(square)), bias)


def check_queries(path: Path, query: Query, layout: Layout) -> None:
    """Refuse queries that are not laid out as docs/explanation/bundle-format.md says.

    Raises:
        BundleError: naming the encoder at ``path``.
    """
    numbers = (query.vector, query.offset, query.bias, query.slope)
    if not all(np.isfinite(part).all() for part in numbers) or not (query.slope > 0).all():
        raise BundleError(path, "expected finite queries with a slope above 0")
    excess, bias = query.vector[:, layout.excess], query.vector[:, layout.tail_bias]
    unused = query.vector[:, layout.head_bias].any() or query.vector[:, layout.traits.stop :].any()
    if (excess[:, 0] != excess[:, 1]).any() or (bias != 1).any() or unused:
        raise BundleError(path, "expected queries laid out as the architecture page says")

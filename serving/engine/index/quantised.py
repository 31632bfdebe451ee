"""The table in signed bytes, queries in unsigned bytes, and a bound on what rounding loses.

The table is rounded column by column. For a query q and a row v, with m the middle of each column's
range, s its step, w the bytes of the row, t the step of the query and z its bytes,

    <q, v> = <q, m> + t <z, w> + loss,    |loss| <= sum_i |q_i| e_i + |q s - t z| b

where e is the largest rounding error in each column of the table and b the largest |w| of a row.
All of these are known numbers, and <z, w> is an integer, so nothing else is lost.

The excess takes three bytes, which are added: what a query multiplies it by would else be its
largest number by far, and decide its step.

Shape letters: B queries, E entities, N of them padded, n of a part, C columns in one part (points
and traits), J = C + 4 columns of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.entity_table import Layout
from mulde.typing import Bytes, Float32, Float64
from serving.engine.index.product_graph import LOWEST, ByteRange, Products
from serving.engine.scoring import Query

_EXCESS_BYTES = 3
_DECODED_ROWS = 8192
_LEAST_STEP = 1e-150
_SLACK = 1e-12
"""Far above what float64 loses when bounds are computed, far below the bounds."""
_ROUNDING = 3.0


class Table(Protocol):
    """The rows to round: E of them, decoded in parts."""

    entities: int

    def decode(self, start: int, stop: int) -> Float32:
        """Return rows ``start`` to ``stop`` as float32 [n, W]."""


@dataclass(slots=True)
class QuantisedQuery:
    """Queries in bytes, with a bound on the error of their products.

    Attributes:
        bytes: uint8 [B, J].
        step: [B], t, above 0.
        base: [B], <q, m>.
        loss: [B], the bound on |loss|.
    """

    bytes: Bytes
    step: Float64
    base: Float64
    loss: Float64

    def take(self, start: int, stop: int) -> QuantisedQuery:
        """Return queries ``start`` to ``stop``."""
        part = slice(start, stop)
        return QuantisedQuery(self.bytes[part], self.step[part], self.base[part], self.loss[part])

    def floors(self, products: Float64) -> Products:
        """Return integers [B] that rows with exact products of at least ``products`` [B] reach."""
        wanted = (products - self.base - self.loss) / self.step
        return _whole(wanted - (1.0 + _SLACK * np.abs(products / self.step)))

    def safe(self, kth: Products) -> Products:
        """Return integers [B] that every row with one of the k greatest exact products reaches.

        Args:
            kth: [B], at most the k-th greatest integer product.
        """
        # The k-th may have gained the loss, and others may have lost it; rounding costs a little.
        slack = 2 * self.loss / self.step + _ROUNDING
        return np.maximum(kth - slack, LOWEST + 1).astype(np.int32)

    def most_below(self, floors: Products) -> Float64:
        """Return exact products [B] that rows below ``floors`` [B] do not exceed."""
        most = self.base + self.step * (floors - 1.0) + self.loss
        most += _SLACK * (np.abs(most) + np.abs(self.base) + self.step)
        return np.where(floors == LOWEST + 1, -np.inf, most)


def _whole(floors: Float64) -> Products:
    """Return integers in the range of products that may be chosen."""
    # Towards 0 where that is up: a floor that is higher by less than 1 keeps no integer out that
    # reaches it, and callers took off more than 1.
    return np.minimum(np.maximum(floors, LOWEST + 1), -(LOWEST + 1)).astype(np.int32)


@dataclass(frozen=True)
class QuantisedTable:
    """A table in bytes.

    Attributes:
        weights: int8 [J, N], w; 0 beyond E.
        span: the range of the bytes.
        columns: [J], which column of the table each byte stands for a part of.
        steps: [J], s.
        middle: [J], m.
        error: [J], e.
        row_norm: b.
    """

    weights: NDArray[np.int8]
    span: ByteRange
    columns: NDArray[np.int64]
    steps: Float64
    middle: Float64
    error: Float64
    row_norm: float

    @classmethod
    def of(cls, table: Table, layout: Layout, span: ByteRange, padded: int) -> QuantisedTable:
        """Round a table.

        Args:
            table: the rows.
            layout: their columns.
            span: of the bytes.
            padded: N.
        """
        low, high = _ranges(table, layout)
        middle, step = (low + high) / 2, (high - low) / (2 * span.weights)
        step[-2] /= _EXCESS_BYTES
        weights = np.zeros((len(middle) - 1 + _EXCESS_BYTES, padded), dtype=np.int8)
        error, norm = np.zeros(len(middle)), 0.0
        for start, columns in _columns_of(table, layout):
            rows, lost = _rounded(columns, middle, step, span.weights)
            weights[:, start : start + len(rows)] = rows.T
            error = np.maximum(error, lost)
            norm = max(norm, float(np.vecdot(rows, rows).max()))
        more = [layout.excess.start] * (_EXCESS_BYTES - 1)
        columns_of = [*layout.whole, layout.excess.start, layout.tail_bias.start, *more]
        steps = np.concatenate([step, step[-2:-1].repeat(len(more))])
        # Further bytes of the excess have their middle and their error in the first one's.
        middle, error = (np.pad(one, (0, len(more))) for one in (middle, error))
        return cls(weights, span, np.array(columns_of), steps, middle, error, float(np.sqrt(norm)))

    def without_weights(self) -> QuantisedTable:
        """Return what queries are rounded by, without the memory of the table."""
        return replace(self, weights=self.weights[:, :0].copy())

    def quantise(self, query: Query) -> QuantisedQuery:
        """Round queries [B]."""
        exact = query.vector.take(self.columns, axis=1).astype(np.float64)
        scaled = exact * self.steps
        sizes = np.maximum.reduce(np.abs(scaled), axis=1)
        step = np.maximum(sizes / self.span.queries, _LEAST_STEP)
        rounded = np.rint(scaled / step[:, None])
        scaled -= rounded * step[:, None]
        loss = np.abs(exact) @ self.error + np.sqrt(np.vecdot(scaled, scaled)) * self.row_norm
        rounded += self.span.zero
        return QuantisedQuery(rounded.astype(np.uint8), step, exact @ self.middle, loss)


def _columns_of(table: Table, layout: Layout) -> Iterator[tuple[int, Float64]]:
    """Return the first row and [n, C + 2] of parts of the table; halves of scalars are added."""
    for start in range(0, table.entities, _DECODED_ROWS):
        points = layout.unpack(table.decode(start, min(start + _DECODED_ROWS, table.entities)))
        scalars = [points.excess[:, None], points.tail_bias[:, None]]
        yield start, np.concatenate([points.spatial, points.traits, *scalars], axis=1)


def _ranges(table: Table, layout: Layout) -> tuple[Float64, Float64]:
    """Return the least and the greatest number in each column."""
    columns = len(layout.whole) + 2
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    for _, rows in _columns_of(table, layout):
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    return low, high


def _rounded(
    columns: Float64, middle: Float64, step: Float64, most: int
) -> tuple[Float64, Float64]:
    """Return integers [n, J] for rows [n, C + 2], and the largest error in each column.

    Args:
        columns: the rows; the last two are excess and tail bias.
        middle: [C + 2], of each column's range.
        step: [C + 2], that a byte stands for; 0 where all rows have the middle.
        most: the greatest magnitude of a byte.
    """
    limit = np.full(len(step), most)
    limit[-2] *= _EXCESS_BYTES
    divisor = np.where(step > 0, step, 1.0)
    rows = np.clip(np.rint((columns - middle) / divisor), -limit, limit)
    lost = np.abs(columns - middle - rows * step)
    # The slack also covers what float64 loses where a query is rounded.
    error = lost.max(axis=0) + _SLACK * (np.abs(columns).max(axis=0) + np.abs(middle))
    left, more = rows[:, -2].copy(), []
    for share in range(_EXCESS_BYTES, 1, -1):
        more.append(np.rint(left / share))
        left -= more[-1]
    rows[:, -2] = left
    return np.concatenate([rows, np.stack(more, axis=1)], axis=1), error

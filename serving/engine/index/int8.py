"""A quick look at every entity: inner products in bytes, with a bound on what that loses.

The table is rounded to signed bytes, column by column, and a query to unsigned bytes; ONNX Runtime
multiplies them in 32-bit integers, several times faster than float32, and exactly where the bytes
stay within what the processor can add (``exact_bytes.py``). For a query q and a
row v, with m the middle of each column's range, s its step, w the bytes of the row, t the step of
the query and z its bytes,

    <q, v> = <q, m> + t <z, w> + loss,    |loss| <= sum_i |q_i| e_i + |q s - t z| b

where e is the largest rounding error in each column of the table and b the largest |w| of a row.
All of these are known numbers, so what the scan leaves out is certain.

The excess takes three bytes, which are added: what a query multiplies it by would else be its
largest number by far, and decide its step.

Shape letters: B queries, E entities, C columns in one part (points and traits), J = C + 4 columns
of bytes.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.entity_table import Layout
from serving.engine.encoder import Query
from serving.engine.entity_table import EntityIndex
from serving.engine.index.int8_range import exact_range, product_session
from serving.engine.index.matmul import Product
from serving.engine.index.quantized_query import LOWEST, SLACK, Array, Looks, Products

_EXCESS_BYTES = 3
_PADDED = 64
_DECODED_ROWS = 8192
_LEAST_STEP = 1e-150


class Scan:
    """A table in bytes; [E, C + 4] of them, in memory."""

    lowest = LOWEST

    def __init__(self, index: EntityIndex, layout: Layout, threads: int = 1) -> None:
        """Round the table.

        Args:
            index: the table.
            layout: its columns.
            threads: for one call.

        Raises:
            InexactProducts: if this machine's byte products are not exact.
        """
        self.size = index.entities
        self._range = exact_range(threads)
        most = self._range.weights
        low, high = _ranges(index, layout)
        middle, step = (low + high) / 2, (high - low) / (2 * most)
        step[-2] /= _EXCESS_BYTES
        padded = (self.size // _PADDED + 1) * _PADDED
        weights = np.zeros((len(middle) - 1 + _EXCESS_BYTES, padded), dtype=np.int8)
        error, norm = np.zeros(len(middle)), 0.0
        for start in range(0, self.size, _DECODED_ROWS):
            stop = min(start + _DECODED_ROWS, self.size)
            columns = _folded(layout, index.decode(start, stop))
            rows, lost = _rounded(columns, middle, step, most)
            weights[:, start:stop] = rows.T
            error = np.maximum(error, lost)
            norm = max(norm, float(np.vecdot(rows, rows).max()))
        excess, bias = layout.excess.start, layout.tail_bias.start
        more = [excess] * (_EXCESS_BYTES - 1)
        self._columns = np.array([*layout.whole, excess, bias, *more])
        self._steps = np.concatenate([step, step[-2:-1].repeat(len(more))])
        # Further bytes of the excess have their middle and their error in the first one's.
        self._middle, self._error = (np.pad(one, (0, len(more))) for one in (middle, error))
        self._row_norm = float(np.sqrt(norm))
        self._product = Product(product_session(weights, self._range, threads), padded, np.int32)

    def look(self, query: Query) -> Looks:
        """Round queries [B]."""
        if len(query) == 1:
            return self._look_alone(query)
        exact = query.vector.take(self._columns, axis=1).astype(np.float64)
        scaled = exact * self._steps
        step = np.maximum(
            np.maximum.reduce(np.abs(scaled), axis=1) / self._range.queries, _LEAST_STEP
        )
        rounded = np.rint(scaled / step[:, None])
        scaled -= rounded * step[:, None]
        loss = np.abs(exact) @ self._error + np.sqrt(np.vecdot(scaled, scaled)) * self._row_norm
        return Looks(
            (rounded + self._range.zero).astype(np.uint8), step, exact @ self._middle, loss
        )

    def _look_alone(self, query: Query) -> Looks:
        """The same for one query, with numbers in place of arrays of one number."""
        # dot and argmax take half the time of @ and max for so few numbers.
        exact = query.vector.take(self._columns).astype(np.float64)
        scaled = exact * self._steps
        sizes = np.abs(scaled)
        step = max(float(sizes[sizes.argmax()]) / self._range.queries, _LEAST_STEP)
        rounded = np.rint(scaled / step)
        scaled -= rounded * step
        loss = np.abs(exact).dot(self._error) + sqrt(scaled.dot(scaled)) * self._row_norm
        rounded += self._range.zero
        base = float(exact.dot(self._middle))
        return Looks(rounded.astype(np.uint8)[None], step, base, float(loss))

    def products(self, looks: Looks) -> Products:
        """<z, w> of queries and rows, [B, N]; N is a multiple of 64 above E, LOWEST beyond E.

        They serve until this thread asks for others.
        """
        products = self._product.run(looks.bytes)
        products[:, self.size :] = LOWEST
        return products


def _folded(layout: Layout, table: NDArray[np.float32]) -> Array:
    """Rows [n, W] with the halves of excess and tail bias added, [n, C + 2]."""
    points = layout.unpack(table)
    scalars = [points.excess[:, None], points.tail_bias[:, None]]
    return np.concatenate([points.spatial, points.traits, *scalars], axis=1)


def _rounded(columns: Array, middle: Array, step: Array, most: int) -> tuple[Array, Array]:
    """Whole numbers [n, J] for rows [n, C + 2], and the largest error in each column.

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
    error = lost.max(axis=0) + SLACK * (np.abs(columns).max(axis=0) + np.abs(middle))
    left, more = rows[:, -2].copy(), []
    for share in range(_EXCESS_BYTES, 1, -1):
        more.append(np.rint(left / share))
        left -= more[-1]
    rows[:, -2] = left
    return np.concatenate([rows, np.stack(more, axis=1)], axis=1), error


def _ranges(index: EntityIndex, layout: Layout) -> tuple[Array, Array]:
    """Least and greatest number in each column."""
    columns = len(layout.whole) + 2
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    for start in range(0, index.entities, _DECODED_ROWS):
        stop = min(start + _DECODED_ROWS, index.entities)
        rows = _folded(layout, index.decode(start, stop))
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    return low, high

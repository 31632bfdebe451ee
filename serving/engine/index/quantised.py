"""Round the table to signed bytes, and find out which bytes this machine multiplies exactly.

The table is rounded column by column: v = m + s w + error, with m the middle of the column's range,
s its step, w the byte, and e the largest error in the column.
For a query q and a row v, with z and w their bytes, t the step of q and m the middle of the table,
and a the largest norm of w,

    <q, v> = <q, m> + t <z, w> + error,    |error| <= loss = sum_i |q_i| e_i + |q s - t z| a

All of these are known numbers, and <z, w> is an integer.

The excess takes three bytes, which are added: what a query multiplies it by would else be its
largest number by far, and decide its step.

ONNX Runtime multiplies unsigned bytes z (queries) by signed bytes w (the table) and adds the
products in 32 bits. Processors with an instruction for that (VNNI, the dot products of ARM) are
exact whatever the bytes are. Others, with AVX2 or AVX-512 alone, first add two neighbouring
products in 16 bits, and saturate beyond 32,767: 2 * 255 * 127 is 64,770. So there are two ranges of
bytes. In the narrow one no two products can leave 16 bits; and either is tried with its extremes
on this machine before it is used.

Shape letters: b queries, W width, E entities, N of them padded, n of a part, C columns in one part
(points and traits), J = C + 4 columns of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mulde.bundle.table.entity_table import Layout
from mulde.typing import Float32, Float64, Products
from serving.engine.entity_table import EntityTable
from serving.engine.index.scan_graph import NARROW, WIDE, ByteRange, ByteTable, product_graph
from serving.engine.onnx_session import new_session

LOWEST = -(1 << 30)
"""Stands for the product of a row that may not be chosen; no product is near it."""
_EXCESS_BYTES = 3
_DECODED_ROWS = 8192
_LEAST_STEP = 1e-9
"""Of the middle of a column whose numbers are all equal, or nearly."""
_SLACK = 1e-12
"""Far above what float64 loses when bounds are computed, far below the bounds."""
_TRIED_QUERIES = (1, 2, 3, 4, 5, 8, 16)
_TRIED_COLUMNS, _TRIED_ROWS = (7, 68), 300


@dataclass(slots=True)
class ProductBounds:
    """What integer products say about exact ones.

    Attributes:
        table: the rows.
        vector: [b, W], of the queries.
        step: [b], t, above 0.
        query_loss: [b], what rounding the query loses.
    """

    table: ByteTable
    vector: Float32
    step: Float64
    query_loss: Float64

    def take(self, start: int, stop: int) -> ProductBounds:
        """Return those of queries ``start`` to ``stop``."""
        part = slice(start, stop)
        steps = self.step[part], self.query_loss[part]
        return ProductBounds(self.table, self.vector[part], *steps)

    @property
    def base(self) -> Float64:
        """<q, m>, [b]."""
        base: Float64 = self._columns @ self.table.middle
        return base

    @property
    def loss(self) -> Float64:
        """The bound on the error, [b]."""
        loss: Float64 = np.abs(self._columns) @ self.table.error
        return loss + self.query_loss + self.step * self.table.float32_loss

    @property
    def _columns(self) -> Float64:
        return self.vector[:, self.table.columns].astype(np.float64)

    def floors(self, products: Float64) -> Products:
        """Return integers [b] that rows with exact products of at least [b] reach."""
        wanted = (products - self.base - self.loss) / self.step
        wanted -= 1.0 + _SLACK * np.abs(products / self.step)
        # Towards 0 where that is up: a floor that is higher by less than 1 keeps no integer out
        # that reaches it, and 1 came off.
        return np.minimum(np.maximum(wanted, LOWEST + 1), -LOWEST).astype(np.int32)

    def most_below(self, floors: Products) -> Float64:
        """Return exact products [b] that rows below ``floors`` [b] do not exceed."""
        base = self.base
        most = base + self.step * (floors - 1.0) + self.loss
        most += _SLACK * (np.abs(most) + np.abs(base) + self.step)
        return np.where(floors == LOWEST + 1, -np.inf, most)


class InexactProducts(Exception):  # noqa: N818 - a state of the machine, not an error of a caller
    """Byte products on this machine are not exact."""


def quantise(table: EntityTable, layout: Layout, span: ByteRange, padded: int) -> ByteTable:
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
    step = _as_float32(np.maximum(step, _LEAST_STEP * np.abs(middle)))
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
    columns_of_bytes = np.array(columns_of, np.int64)
    return ByteTable(weights, span, columns_of_bytes, steps, middle, error, float(np.sqrt(norm)))


def _as_float32(steps: Float64) -> Float64:
    """Return numbers of float32, at least as great."""
    narrow = steps.astype(np.float32)
    low = narrow < steps
    narrow[low] = np.nextafter(narrow[low], np.float32(np.inf))
    return narrow.astype(np.float64)


def exact_range(threads: int = 1) -> ByteRange:
    """Return the wider range whose products this machine gets exactly.

    Raises:
        InexactProducts: if there is none.
    """
    for tried in (WIDE, NARROW):
        if _is_exact(tried, threads):
            return tried
    raise InexactProducts


def product_session(
    weights: NDArray[np.int8], span: ByteRange, threads: int
) -> ort.InferenceSession:
    """Return what multiplies queries in ``span`` with ``weights`` [J, N]."""
    return new_session(product_graph(weights, span.zero), threads)


def _is_exact(span: ByteRange, threads: int) -> bool:
    """Return whether extreme products come out right, alone and in batches."""
    generator = np.random.default_rng(0)
    for columns in _TRIED_COLUMNS:
        signs = generator.choice([-1, 1], size=(columns, _TRIED_ROWS))
        signs[:, 0], signs[:, 1] = 1, -1
        weights = (signs * span.weights).astype(np.int8)
        session = product_session(weights, span, threads)
        for count in _TRIED_QUERIES:
            queries = generator.choice([-1, 1], size=(count, columns)) * span.queries
            queries[0] = span.queries
            rounded = (queries + span.zero).astype(np.uint8)
            found = session.run(["products"], {"queries": rounded})[0]
            if not np.array_equal(found, queries @ weights.astype(np.int64)):
                return False
    return True


def _columns_of(table: EntityTable, layout: Layout) -> Iterator[tuple[int, Float64]]:
    """Return the first row and [n, C + 2] of parts of the table; halves of scalars are added."""
    for start in range(0, table.entities, _DECODED_ROWS):
        points = layout.unpack(table.decode(start, min(start + _DECODED_ROWS, table.entities)))
        scalars = [points.excess[:, None], points.tail_bias[:, None]]
        yield start, np.concatenate([points.spatial, points.traits, *scalars], axis=1)


def _ranges(table: EntityTable, layout: Layout) -> tuple[Float64, Float64]:
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

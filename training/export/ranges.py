"""A table of 8 bits a number from points that come in chunks, and come again when asked.

``quantised_table.pack_quantised`` needs all points at once. Here the points are read twice for the
ranges of their columns and once for the table, and one chunk of them is in memory.

Shape letters: n points of a chunk, D dimension, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.entity_table import Layout, excess
from mulde.bundle.quantised_table import Codec

Array = NDArray[np.float64]
Points = tuple[Array, Array, Array]
"""Spatial coordinates [n, D], tail bias [n], head bias [n]."""

_BITS = 8
_LEAST_SPAN = 1e-30


def fit_codec(layout: Layout, chunks: Callable[[], Iterable[Points]]) -> Codec:
    """Ranges from the least to the greatest number of each column.

    The second column of a scalar holds what the first leaves: half a step of it either way.

    Args:
        layout: columns.
        chunks: gives all points, each time from the first.
    """
    width = layout.width
    codec = Codec(_BITS, np.zeros(width, np.float32), np.full(width, _LEAST_SPAN, np.float32))
    first = [*range(layout.dimension), layout.tail_bias.start, layout.head_bias.start]
    _set(codec, first, *_extremes(np.column_stack(points) for points in chunks()))
    rounded = (_rounded(codec, range(layout.dimension), points[0]) for points in chunks())
    bends = (excess(part)[:, None] for part in rounded)
    _set(codec, [layout.excess.start], *_extremes(bends))
    for column in (layout.excess.start, layout.tail_bias.start, layout.head_bias.start):
        half = float(codec.span[column]) / codec.steps / 2 * (1 + 1e-6)
        _set(codec, [column + 1], np.array([-half]), np.array([half]))
    return codec


def pack_chunks(
    layout: Layout, codec: Codec, chunks: Iterable[Points]
) -> Iterator[NDArray[np.float32]]:
    """Rows of the table [n, W], as the codec will read them; the excess is that of the rounded."""
    for spatial, tail_bias, head_bias in chunks:
        table = np.zeros((len(spatial), layout.width))
        table[:, layout.spatial] = _rounded(codec, range(layout.dimension), spatial)
        scalars = (
            (layout.excess.start, excess(table[:, layout.spatial])),
            (layout.tail_bias.start, tail_bias),
            (layout.head_bias.start, head_bias),
        )
        for column, values in scalars:
            high = _rounded(codec, [column], values[:, None])[:, 0]
            table[:, column], table[:, column + 1] = high, values - high
        yield codec.decode(codec.encode(table))


def _extremes(chunks: Iterable[Array]) -> tuple[Array, Array]:
    """Least and greatest of each column of chunks [n, ...]."""
    ends = [(chunk.min(axis=0), chunk.max(axis=0)) for chunk in chunks]
    low, high = zip(*ends, strict=True)
    return np.min(low, axis=0), np.max(high, axis=0)


def _set(codec: Codec, columns: list[int], low: Array, high: Array) -> None:
    """Cover a range: 2^bits steps, of which FAISS calls all but one the span."""
    codec.low[columns] = low
    codec.span[columns] = np.maximum(high - low, _LEAST_SPAN) * codec.steps / (codec.steps + 1)


def _rounded(codec: Codec, columns: Iterable[int], values: Array) -> Array:
    """Numbers [n, columns] as they will be read."""
    chosen = list(columns)
    part = Codec(codec.bits, codec.low[chosen], codec.span[chosen])
    return part.decode(part.encode(values)).astype(np.float64)

"""Write an entity table in chunks: ranges of an int8 table, its rows, and the FAISS file.

``quantised_table.pack_quantised`` needs all points at once. Here the points are read twice for the
ranges of their columns and once for the table, and one chunk is in memory.

Shape letters: n points of a chunk, E entities, D dimension, W width.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from mulde.bundle.table.entity_table import PRECISIONS, Layout, Precision, excess
from mulde.bundle.table.quantised_table import Codec
from mulde.errors import BundleError
from mulde.typing import Array, Float32, Float64
from training.export.table.entity_table import write_quantised, write_table

Points = tuple[Float64, Float64, Float64]
"""Spatial coordinates [n, D], tail bias [n], head bias [n]."""

_COUNT = struct.Struct("<Q")
_ROWS_AT = 8
"""Where FAISS writes the number of rows."""

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


def pack_chunks(layout: Layout, codec: Codec, chunks: Iterable[Points]) -> Iterator[Float32]:
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


def _extremes(chunks: Iterable[Float64]) -> tuple[Float64, Float64]:
    """Least and greatest of each column of chunks [n, ...]."""
    ends = [(chunk.min(axis=0), chunk.max(axis=0)) for chunk in chunks]
    low, high = zip(*ends, strict=True)
    return np.min(low, axis=0), np.max(high, axis=0)


def _set(codec: Codec, columns: list[int], low: Float64, high: Float64) -> None:
    """Cover a range: 2^bits steps, of which FAISS calls all but one the span."""
    codec.low[columns] = low
    codec.span[columns] = np.maximum(high - low, _LEAST_SPAN) * codec.steps / (codec.steps + 1)


def _rounded(codec: Codec, columns: Iterable[int], values: Float64) -> Float64:
    """Numbers [n, columns] as they will be read."""
    chosen = list(columns)
    part = Codec(codec.bits, codec.low[chosen], codec.span[chosen])
    return part.decode(part.encode(values)).astype(np.float64)


def stream_table(
    path: Path,
    chunks: Iterable[Float32],
    entities: int,
    width: int,
    precision: Precision | Codec,
) -> None:
    """Write the file of ``write_table`` or ``write_quantised`` from chunks.

    Args:
        path: a file that does not exist.
        chunks: rows of the table in order, [n, W] each; E together.
        entities: E.
        width: W.
        precision: as for ``write_table``, or the codec of ``write_quantised``.

    Raises:
        BundleError: if it cannot be written.
        ValueError: if the chunks have another number of rows or columns.
    """
    written = 0
    try:
        with path.open("xb") as file:
            file.write(_head(entities, width, precision))
            for chunk in chunks:
                if chunk.shape[1] != width:
                    raise ValueError(f"expected chunks of width {width}, found {chunk.shape[1]}")
                file.write(_codes(chunk, precision).data)
                written += len(chunk)
    except OSError as error:
        raise BundleError(path, f"cannot be written: {error}") from error
    if written != entities:
        raise ValueError(f"expected {entities} rows, found {written}")


def _codes(rows: Float32, precision: Precision | Codec) -> Array:
    if isinstance(precision, Codec):
        return precision.encode(rows)
    return np.ascontiguousarray(rows, dtype=PRECISIONS[precision])


def _head(entities: int, width: int, precision: Precision | Codec) -> bytes:
    """The bytes before the codes: those of a table of one row, with the sizes replaced."""
    row = np.zeros((1, width), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "one"
        if isinstance(precision, Codec):
            write_quantised(one, row, precision)
        else:
            write_table(one, row, precision)
        head = bytearray(one.read_bytes()[: -_codes(row, precision).nbytes])
    (codes,) = _COUNT.unpack_from(head, len(head) - _COUNT.size)
    _COUNT.pack_into(head, len(head) - _COUNT.size, codes * entities)
    _COUNT.pack_into(head, _ROWS_AT, entities)
    return bytes(head)

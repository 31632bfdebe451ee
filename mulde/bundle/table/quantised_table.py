"""An entity table in 8 or 4 bits a number, with a range for each column.

A code z in 0..2^bits - 1 stands for the middle of its step:

    value = low + (z + 1/2) span / (2^bits - 1)

which is the rule of FAISS's scalar quantiser. Excess and biases are stored in two columns each
(``entity_table``): the second holds the rounding error of the first, in finer steps.

With 8 bits the steps cover a column from its least to its greatest number. With 4 bits a narrower
range often loses less, because few numbers are near the ends: for each column, the share of the
range with the least squared error is taken.

Shape letters: E entities, n rows, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.bundle.table.entity_table import Layout, Precision, excess
from mulde.typing import Bytes, Float32, Float64, Floats

BITS: dict[Precision, int] = {"int8": 8, "int4": 4}
"""Precisions of this module."""

_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_LEAST_SPAN = 1e-30


@dataclass(frozen=True)
class Codec:
    """From numbers to codes and back.

    Attributes:
        bits: 8 or 4.
        low: float32 [W].
        span: float32 [W], above 0.
    """

    bits: int
    low: Float32
    span: Float32

    @property
    def steps(self) -> int:
        """2^bits - 1."""
        return (1 << self.bits) - 1

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return len(self.low) * self.bits // 8

    def encode(self, table: Floats) -> Bytes:
        """Bytes [n, bytes of a row] of rows [n, W]; what is out of range takes the nearest code."""
        share = (table.astype(np.float64) - self.low) / self.span
        whole = np.clip(np.floor(share * self.steps), 0, self.steps).astype(np.uint8)
        if self.bits == 8:
            return whole
        packed: Bytes = whole[:, 0::2] | np.left_shift(whole[:, 1::2], np.uint8(4))
        return packed

    def decode(self, codes: Bytes) -> Float32:
        """Rows [..., W] of codes [..., bytes of a row]."""
        if self.bits == 4:
            halves = np.stack([codes & 15, codes >> 4], axis=-1)
            codes = halves.reshape(*codes.shape[:-1], 2 * codes.shape[-1])
        scale = self.span / np.float32(self.steps)
        table: Float32 = self.low + (codes + np.float32(0.5)) * scale
        return table


def pack_quantised(
    layout: Layout,
    spatial: Floats,
    tail_bias: Floats,
    head_bias: Floats,
    bits: int,
    traits: Floats | None = None,
) -> tuple[Float32, Codec]:
    """Round points and biases to a table; the excess comes from the rounded coordinates.

    Args:
        layout: columns; W is a multiple of 8.
        spatial: [E, D], Y'.
        tail_bias: [E].
        head_bias: [E].
        bits: 8 or 4.
        traits: [E, J]; None for zeros.

    Returns:
        What the codes stand for, [E, W], and the codec.

    Raises:
        ValueError: for a value that is not finite.
    """
    table = np.zeros((len(spatial), layout.width))
    codec = Codec(bits, np.zeros(layout.width, np.float32), np.ones(layout.width, np.float32))
    for column in range(layout.dimension):
        table[:, column] = _fit(codec, column, spatial[:, column])
    for columns, values in (
        (layout.excess, excess(table[:, layout.spatial])),
        (layout.tail_bias, tail_bias),
        (layout.head_bias, head_bias),
    ):
        # The first part may clip nothing, or the second would have to be as wide.
        high = _fit(codec, columns.start, values, narrow=False)
        table[:, columns.start] = high
        rest = np.asarray(values, dtype=np.float64) - high
        table[:, columns.start + 1] = _fit(codec, columns.start + 1, rest, narrow=False)
    if traits is not None:
        table[:, layout.traits] = traits
    for column in range(layout.head_bias.stop, layout.width):
        table[:, column] = _fit(codec, column, table[:, column], narrow=False)
    decoded = codec.decode(codec.encode(table))
    if not np.isfinite(decoded).all():
        row = int(np.flatnonzero(~np.isfinite(decoded).all(axis=1))[0])
        raise ValueError(f"row {row} of the entity table is not finite in {bits} bits")
    return decoded, codec


def _fit(codec: Codec, column: int, values: Floats, *, narrow: bool = True) -> Float64:
    """Choose the range of a column and round its numbers [E]."""
    wide = np.asarray(values, dtype=np.float64)
    shares = _SHARES if narrow and codec.bits < 8 else (1.0,)
    tries = [_rounded(codec, wide, share) for share in shares]
    errors = [float(np.square(rounded - wide).sum()) for rounded, _, _ in tries]
    rounded, codec.low[column], codec.span[column] = tries[int(np.argmin(errors))]
    return rounded


def _rounded(codec: Codec, values: Float64, share: float) -> tuple[Float64, np.float32, np.float32]:
    """Numbers as they will be read, and the range: ``share`` of that of all numbers."""
    middle, half = (values.max() + values.min()) / 2, (values.max() - values.min()) / 2 * share
    # 2^bits steps cover the range, of which FAISS calls all but one the span.
    span = np.float32(max(2 * half, _LEAST_SPAN) * codec.steps / (codec.steps + 1))
    low = np.float32(middle - half)
    whole = np.clip(np.floor((values - low) / span * codec.steps), 0, codec.steps)
    scale = span / np.float32(codec.steps)
    read = low + (whole.astype(np.float32) + np.float32(0.5)) * scale
    return read.astype(np.float64), low, span

"""The columns of the entity table: the one definition.

A row holds a point of the unit hyperboloid and two biases, in the numbers that an inner product
needs (docs/explanation/bundle-format.md, "entities.faiss"):

    0..D-1    Y', the spatial coordinates
    D, D+1    the excess y = sqrt(1 + |Y'|^2) - 1, high and low part
    D+2, D+3  tail bias, high and low part
    D+4, D+5  head bias, high and low part
    D+6..     J traits, where the model has any (docs/explanation/method.md, "Departures")
    ...       zeros, up to a multiple of 8

A width that is not a multiple of 8 falls off the vector path of the index: 10 times slower.

Shape letters: E entities, D dimension, J traits, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from mulde.typing import Float32, Float64, Floats, Rows

Precision = Literal["fp16", "fp32", "int8", "int4"]
PRECISIONS: dict[Precision, type[np.floating]] = {"fp16": np.float16, "fp32": np.float32}
"""Those of floating-point numbers; ``mulde.bundle.table.quantised_table`` has the others."""
NUMBER_BITS: dict[Precision, int] = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
"""Bits of a stored number."""

_PARTS = 2
_SCALARS = 3
_STEP = 8


class Points(NamedTuple):
    """What a table holds, in float64.

    Attributes:
        spatial: [E, D], Y'.
        excess: [E], cosh(radius) - 1, at least 0 up to the rounding of the table.
        tail_bias: [E].
        head_bias: [E].
        traits: [E, J].
    """

    spatial: Float64
    excess: Float64
    tail_bias: Float64
    head_bias: Float64
    traits: Float64


@dataclass(frozen=True)
class Layout:
    """Where the numbers of an entity are in its row.

    Attributes:
        dimension: D, at least 1.
        trait_count: J, at least 0.
        text_count: how many of the J, the last ones, are text columns.
    """

    dimension: int
    trait_count: int = 0
    text_count: int = 0

    def __post_init__(self) -> None:
        """Refuse a dimension that no table can have."""
        if self.dimension < 1:
            raise ValueError(f"expected a dimension of at least 1, found {self.dimension}")
        if self.trait_count < 0:
            raise ValueError(f"expected no traits or some, found {self.trait_count}")
        if not 0 <= self.text_count <= self.trait_count:
            expected = f"0 to {self.trait_count} text columns"
            raise ValueError(f"expected {expected}, found {self.text_count}")

    @cached_property
    def width(self) -> int:
        """W: D + 6 + J, rounded up to a multiple of 8."""
        used = self.dimension + _SCALARS * _PARTS + self.trait_count
        return -(-used // _STEP) * _STEP

    @cached_property
    def spatial(self) -> slice:
        """Columns of Y'."""
        return slice(0, self.dimension)

    @cached_property
    def excess(self) -> slice:
        """Columns of the excess, high and low part."""
        return self._scalar(0)

    @cached_property
    def tail_bias(self) -> slice:
        """Columns of the tail bias, high and low part."""
        return self._scalar(1)

    @cached_property
    def head_bias(self) -> slice:
        """Columns of the head bias, high and low part."""
        return self._scalar(2)

    @cached_property
    def traits(self) -> slice:
        """Columns of the traits, one each."""
        start = self.dimension + _SCALARS * _PARTS
        return slice(start, start + self.trait_count)

    @cached_property
    def priors(self) -> slice:
        """Columns of the relation priors, the first of the traits."""
        return slice(self.traits.start, self.text.start)

    @cached_property
    def prior_count(self) -> int:
        """How many columns of relation priors there are."""
        return self.trait_count - self.text_count

    @cached_property
    def text(self) -> slice:
        """Columns made of labels and descriptions, the last of the traits."""
        return slice(self.traits.stop - self.text_count, self.traits.stop)

    @cached_property
    def whole(self) -> Rows:
        """Columns of numbers that are kept in one part: [D + J], Y' and traits."""
        columns = np.arange(self.width)
        return np.concatenate([columns[self.spatial], columns[self.traits]])

    def _scalar(self, place: int) -> slice:
        start = self.dimension + _PARTS * place
        return slice(start, start + _PARTS)

    def pack(
        self,
        spatial: Floats,
        tail_bias: Floats,
        head_bias: Floats,
        precision: Precision = "fp16",
        traits: Floats | None = None,
    ) -> Float32:
        """Round points and biases to a table; every value is one that ``precision`` can hold.

        The excess comes from the *rounded* coordinates, so a row is still a point of the
        hyperboloid: rounding moves a point a little, it does not take it off the surface.

        Args:
            spatial: [E, D], Y'.
            tail_bias: [E].
            head_bias: [E].
            precision: "fp16" (scalars keep about 22 bits, in two parts) or "fp32".
            traits: [E, J]; None for zeros.

        Returns:
            [E, W].

        Raises:
            ValueError: for other shapes, or a value that is not finite in ``precision``.
        """
        spatial = np.asarray(spatial)
        entities = len(spatial)
        if spatial.shape != (entities, self.dimension):
            expected = f"[{entities}, {self.dimension}]"
            raise ValueError(f"expected spatial of shape {expected}, found {spatial.shape}")
        table = np.zeros((entities, self.width), dtype=np.float32)
        dtype = PRECISIONS[precision]
        with np.errstate(over="ignore", invalid="ignore"):
            table[:, self.spatial] = spatial.astype(dtype)
            table[:, self.excess] = _split(excess(table[:, self.spatial]), dtype)
            table[:, self.tail_bias] = _split(tail_bias, dtype)
            table[:, self.head_bias] = _split(head_bias, dtype)
            if traits is not None:
                table[:, self.traits] = traits.astype(dtype)
        if not np.isfinite(table).all():
            row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
            raise ValueError(f"row {row} of the entity table is not finite in {precision}")
        return table

    def unpack(self, table: Floats) -> Points:
        """The points and biases of a table [E, W] (or of some of its rows)."""
        if table.ndim != 2 or table.shape[1] != self.width:
            raise ValueError(f"expected a table of width {self.width}, found {table.shape}")
        wide = table.astype(np.float64)
        return Points(
            spatial=wide[:, self.spatial],
            excess=wide[:, self.excess].sum(axis=1),
            tail_bias=wide[:, self.tail_bias].sum(axis=1),
            head_bias=wide[:, self.head_bias].sum(axis=1),
            traits=wide[:, self.traits],
        )


def excess(spatial: Floats) -> Float64:
    """x = sqrt(1 + |X'|^2) - 1, without cancellation near the origin.

    Args:
        spatial: [..., D], X'.

    Returns:
        [...], in [0, inf), computed in float64.
    """
    square = np.square(spatial, dtype=np.float64).sum(axis=-1)
    result: Float64 = square / (1.0 + np.sqrt(1.0 + square))
    return result


def _split(values: Floats, dtype: type[np.floating]) -> Float32:
    """[E] -> [E, 2]: high and low part, whose sum is the value to twice the bits of ``dtype``."""
    wide = np.asarray(values, dtype=np.float64)
    high = wide.astype(dtype)
    low = (wide - high).astype(dtype) if dtype is np.float16 else np.zeros_like(high)
    return np.stack([high, low], axis=-1).astype(np.float32)

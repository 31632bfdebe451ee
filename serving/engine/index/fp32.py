"""Every row in float32, multiplied by ONNX Runtime: index kind ``fp32``.

It takes four times the memory of bytes and reads four times as much for a query, but loses next to
nothing, so that fewer rows are fetched. What float32 may lose is gamma |q| |v| (``rounding.py``).

Shape letters: B queries, E entities, C columns in one part (points and traits), N places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mulde.bundle.entity_table import Layout
from serving.engine.encoder import Query, session_options
from serving.engine.entity_table import EntityIndex
from serving.engine.index.matmul import Product
from serving.engine.index.product_graph import float_product_graph
from serving.engine.index.rounding import float32_loss

Array = NDArray[np.float64]
Products = NDArray[np.float32]

LOWEST = np.float32(-np.inf)
_PADDED = 64
_DECODED_ROWS = 8192


@dataclass(frozen=True)
class FloatLooks:
    """Queries for the product; see ``view.Looks``.

    Attributes:
        vector: float32 [B, C + 2].
        loss: [B], by which a product may be wrong.
    """

    vector: NDArray[np.float32]
    loss: Array

    def take(self, which: NDArray[np.integer]) -> FloatLooks:
        """See ``view.Looks``."""
        return FloatLooks(self.vector[which], self.loss[which])

    def floors(self, products: Array) -> Products:
        """See ``view.Looks``."""
        return _down(products - self.loss)

    def safe(self, kth: Products) -> Products:
        """See ``view.Looks``."""
        return _down(kth - 2 * self.loss)

    def most_below(self, floors: Products) -> Array:
        """See ``view.Looks``."""
        return np.where(floors <= np.finfo(np.float32).min, -np.inf, floors + self.loss)


def _down(floors: Array) -> Products:
    """The next float32 below, but above ``LOWEST``."""
    below = np.nextafter(floors.astype(np.float32), LOWEST)
    return np.maximum(below, np.finfo(np.float32).min)


class FloatTable:
    """A table in float32; [E, C + 2] of them, in memory."""

    lowest = LOWEST

    def __init__(
        self, index: EntityIndex, layout: Layout, row_norm: float, threads: int = 1
    ) -> None:
        """Copy the table.

        Args:
            index: the table.
            layout: its columns.
            row_norm: the largest Euclidean norm of a row.
            threads: for one call.
        """
        self.size, self._width, self._row_norm = index.entities, layout.width, row_norm
        self._columns = [*layout.whole, layout.excess.start, layout.tail_bias.start]
        padded = (self.size // _PADDED + 1) * _PADDED
        weights = np.zeros((len(self._columns), padded), dtype=np.float32)
        for start in range(0, self.size, _DECODED_ROWS):
            stop = min(start + _DECODED_ROWS, self.size)
            points = layout.unpack(index.decode(start, stop))
            weights[:-2, start:stop] = np.hstack([points.spatial, points.traits]).T
            weights[-2, start:stop], weights[-1, start:stop] = points.excess, points.tail_bias
        session = ort.InferenceSession(
            float_product_graph(weights),
            session_options(threads),
            providers=["CPUExecutionProvider"],
        )
        self._product = Product(session, padded, np.float32)

    def look(self, query: Query) -> FloatLooks:
        """Columns of queries [B]."""
        loss = float32_loss(query.vector, self._row_norm, self._width)
        return FloatLooks(np.ascontiguousarray(query.vector[:, self._columns]), loss)

    def products(self, looks: FloatLooks) -> Products:
        """See ``view.Table``; they serve until this thread asks for others."""
        products = self._product.run(looks.vector)
        products[:, self.size :] = LOWEST
        return products

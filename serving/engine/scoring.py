"""From rows of the table to scores: the one place where the server computes a score.

Every score is float64 and depends on its query and its row alone: the same pair has the same bits
alone or in a batch, searched, listed or scored exhaustively. That is why products go through
``np.vecdot``, which treats each pair by itself, and not through a matrix product, which may sum in
another order at the edge of a tile.

Shape letters: B queries, M candidates of a query, W width.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.entity_table import Layout
from mulde.bundle.manifest import Score
from serving.engine.encoder import Query
from serving.engine.entity_table import Table

Array = NDArray[np.float64]


class Scorer(Protocol):
    """How an inner product becomes a score (docs/explanation/bundle-format.md, "encoder.onnx").

    Attributes:
        is_monotone: whether, for one query, a greater product always means a greater score.
    """

    is_monotone: bool

    def scores(self, query: Query, rows: Table) -> Array:
        """Scores [B, M] of rows [B, M, W] (or [1, M, W], shared) for queries [B]."""

    def floors(self, query: Query, scores: Array) -> Array:
        """Products that are needed to reach scores, [B].

        An entity whose exact product with the query is below its floor scores less than ``scores``
        [B]. Exact arithmetic; the caller takes off what rounding may cost.
        """


class LinearScorer:
    """score = <query, row> + offset + bias."""

    is_monotone = True

    def scores(self, query: Query, rows: Table) -> Array:
        """See ``Scorer.scores``."""
        return products(query, rows) + (query.offset + query.bias)[:, None]

    def floors(self, query: Query, scores: Array) -> Array:
        """See ``Scorer.floors``."""
        return scores - (query.offset + query.bias)


class DistanceScorer:
    """score = b_t - f(u) + bias, with f(u) = acosh(1 + u)^2 / c.

    u = (b_t - <query, row> - offset) / slope.
    """

    is_monotone = False

    def __init__(self, layout: Layout, curvature: float, largest_bias: float) -> None:
        """Remember the columns, c and the largest tail bias b_max of the table."""
        self._tail_bias = layout.tail_bias
        self._curvature = curvature
        self._largest_bias = largest_bias

    def scores(self, query: Query, rows: Table) -> Array:
        """See ``Scorer.scores``."""
        tail_bias = rows[..., self._tail_bias].sum(axis=-1, dtype=np.float64)
        tangent = products(query, rows) + query.offset[:, None]
        u = np.maximum(tail_bias - tangent, 0.0) / query.slope[:, None]
        result: Array = tail_bias - self._penalty(u) + query.bias[:, None]
        return result

    def _penalty(self, u: Array) -> Array:
        """f(u) = (sqrt(c) d)^2 / c, without cancellation near u = 0."""
        return np.square(np.log1p(u + np.sqrt(u * (u + 2.0)))) / self._curvature

    def floors(self, query: Query, scores: Array) -> Array:
        """See ``Scorer.floors``.

        For a given product p = b_t - slope u, the score p + slope u - f(u) is convex in u, because
        f is concave; so it is greatest at an end of u's range, [0, (b_max - p) / slope]. There it
        is p and b_max - f(u). Both stay below s when p < s and u > f^-1(b_max - s).
        """
        wanted = scores - query.bias
        gap = np.maximum(self._largest_bias - wanted, 0.0)
        with np.errstate(over="ignore"):
            needed = np.cosh(np.sqrt(self._curvature * gap)) - 1.0
        floors: Array = np.minimum(wanted, self._largest_bias - query.slope * needed)
        return floors - query.offset


class NeighbourScorer:
    """score = -d(X, Y), for entities asked as queries (``Engine.similar``).

    u = x + (1 + x) y - <X', Y'> is taken from the points, not from the query's product: there the
    factor 1 + x is rounded to float32, and near u = 0 the distance shows it.
    """

    is_monotone = True

    def __init__(self, layout: Layout, curvature: float) -> None:
        """Remember the columns and c."""
        self._layout = layout
        self._curvature = curvature

    def scores(self, query: Query, rows: Table) -> Array:
        """See ``Scorer.scores``."""
        x = -query.offset[:, None]
        y = rows[..., self._layout.excess].sum(axis=-1, dtype=np.float64)
        points = np.ascontiguousarray(rows[..., self._layout.spatial], dtype=np.float64)
        own = np.ascontiguousarray(query.vector[:, None, self._layout.spatial], dtype=np.float64)
        u = np.maximum(x + (1.0 + x) * y - np.vecdot(points, own), 0.0)
        result: Array = -np.log1p(u + np.sqrt(u * (u + 2.0))) / np.sqrt(self._curvature)
        return result

    def floors(self, query: Query, scores: Array) -> Array:
        """See ``Scorer.floors``."""
        with np.errstate(over="ignore"):
            floors: Array = 1.0 - np.cosh(np.sqrt(self._curvature) * scores) - query.offset
        return floors


def products(query: Query, rows: Table) -> Array:
    """Inner products [B, M] of queries [B] and rows [B, M, W] (or [1, M, W]), in float64."""
    wide = np.ascontiguousarray(rows, dtype=np.float64)
    result: Array = np.vecdot(wide, query.vector.astype(np.float64)[:, None, :])
    return result


def scorer_for(score: Score, layout: Layout, largest_bias: float) -> Scorer:
    """The scorer that a manifest asks for."""
    if score.kind == "linear":
        return LinearScorer()
    return DistanceScorer(layout, score.curvature, largest_bias)

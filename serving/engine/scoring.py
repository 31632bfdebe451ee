"""Queries, and how a query and a row of the table become a score.

Every score is float64 and depends on its query and its row alone: a pair has the same bits in a
batch, alone, searched or scored exhaustively. That is why products go through ``np.vecdot``, which
treats each pair by itself, and not through a matrix product, whose order of summation depends on
the shape.

Shape letters: B queries, K candidates of a query, W width, n pairs of a query and a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mulde.bundle.entity_table import Layout
from mulde.bundle.manifest import Score
from mulde.typing import Float32, Float64, Floats, Ints

# Far above what float64 loses in a score, far below what any rough product loses.
_SLACK = 1e-12
_TINY = 1e-30


@dataclass(slots=True)  # a frozen one takes four times as long to make
class Query:
    """Encoded queries: <vector, row> + offset = b_t - slope u + prior.

    Attributes:
        vector: float32 [B, W]; its prior columns hold the weights of the relation prior.
        offset: float64 [B].
        bias: float64 [B], of the head.
        slope: float64 [B], above 0.
    """

    vector: Float32
    offset: Float64
    bias: Float64
    slope: Float64

    def __len__(self) -> int:
        """B."""
        return len(self.vector)

    def take(self, which: slice | Ints) -> Query:
        """Return some of the queries."""
        return Query(self.vector[which], self.offset[which], self.bias[which], self.slope[which])

    def without_prior(self, layout: Layout) -> Query:
        """Return the same queries with weights of 0 for the relation prior."""
        if layout.priors.start == layout.priors.stop:
            return self
        vector = self.vector.copy()
        vector[:, layout.priors] = 0.0
        return Query(vector, self.offset, self.bias, self.slope)


class Scorer(Protocol):
    """How an inner product becomes a score (docs/explanation/bundle-format.md, "encoder.onnx").

    Attributes:
        is_monotone: whether, for one query, a greater product always means a greater score.
    """

    is_monotone: bool

    def scores(self, query: Query, rows: Floats) -> Float64:
        """Return scores [B, K] of rows [B, K, W] (or [1, K, W], shared) for queries [B]."""

    def floors(self, query: Query, scores: Float64) -> Float64:
        """Return the products [B] that are needed to reach ``scores`` [B], in exact arithmetic.

        An entity whose exact product with the query is below its floor scores less.
        """


class LinearScorer:
    """score = <query, row> + offset + bias."""

    is_monotone = True

    def scores(self, query: Query, rows: Floats) -> Float64:
        """See ``Scorer``."""
        return products(query, rows) + (query.offset + query.bias)[:, None]

    def floors(self, query: Query, scores: Float64) -> Float64:
        """See ``Scorer``."""
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

    def scores(self, query: Query, rows: Floats) -> Float64:
        """See ``Scorer``."""
        tail_bias = rows[..., self._tail_bias].sum(axis=-1, dtype=np.float64)
        tangent = products(query, rows) + query.offset[:, None]
        u = np.maximum(tail_bias - tangent, 0.0) / query.slope[:, None]
        result: Float64 = tail_bias - self._penalty(u) + query.bias[:, None]
        return result

    def _penalty(self, u: Float64) -> Float64:
        """Return f(u) = (sqrt(c) d)^2 / c, without cancellation near u = 0."""
        return np.square(_acosh1p(u)) / self._curvature

    def floors(self, query: Query, scores: Float64) -> Float64:
        """See ``Scorer``.

        For a given product p = b_t - slope u, the score p + slope u - f(u) is convex in u, because
        f is concave; so it is greatest at an end of u's range, [0, (b_max - p) / slope]. There it
        is p and b_max - f(u). Both stay below s when p < s and u > f^-1(b_max - s).
        """
        wanted = scores - query.bias
        gap = np.maximum(self._largest_bias - wanted, 0.0)
        with np.errstate(over="ignore"):
            needed = np.cosh(np.sqrt(self._curvature * gap)) - 1.0
        floors: Float64 = np.minimum(wanted, self._largest_bias - query.slope * needed)
        return floors - query.offset


class NeighbourScorer:
    """score = -d(X, Y) = -acosh(1 + u) / sqrt(c), for entities as queries.

    u = x + (1 + x) y - <X', Y'> is computed from the points, not from the query's product: there
    the factor 1 + x is rounded to float32, and near u = 0 the distance shows it.
    """

    is_monotone = True

    def __init__(self, layout: Layout, curvature: float) -> None:
        """Remember the columns and c."""
        self._layout = layout
        self._curvature = curvature

    def queries(self, rows: Floats) -> Query:
        """Return rows of the table [B, W] as queries for their neighbours.

        The nearest of X are those with the greatest product of (X', -(1 + x)) with (Y', y).
        """
        points = self._layout.unpack(rows)
        vector = np.zeros((len(rows), self._layout.width), dtype=np.float32)
        vector[:, self._layout.spatial] = points.spatial
        vector[:, self._layout.excess] = -(1.0 + points.excess)[:, None]
        none = np.zeros(len(rows))
        return Query(vector, -points.excess, none, none + 1)

    def scores(self, query: Query, rows: Floats) -> Float64:
        """See ``Scorer``."""
        x = -query.offset[:, None]
        y = rows[..., self._layout.excess].sum(axis=-1, dtype=np.float64)
        points = np.ascontiguousarray(rows[..., self._layout.spatial], dtype=np.float64)
        own = np.ascontiguousarray(query.vector[:, None, self._layout.spatial], dtype=np.float64)
        u = np.maximum(x + (1.0 + x) * y - np.vecdot(points, own), 0.0)
        result: Float64 = -_acosh1p(u) / np.sqrt(self._curvature)
        return result

    def floors(self, query: Query, scores: Float64) -> Float64:
        """See ``Scorer``."""
        with np.errstate(over="ignore"):
            floors: Float64 = 1.0 - np.cosh(np.sqrt(self._curvature) * scores) - query.offset
        return floors


def _acosh1p(u: Float64) -> Float64:
    """Return acosh(1 + u) without cancellation near u = 0."""
    result: Float64 = np.log1p(u + np.sqrt(u * (u + 2.0)))
    return result


def products(query: Query, rows: Floats) -> Float64:
    """Return float64 products [B, K] of queries [B] with rows [B, K, W] (or [1, K, W])."""
    wide = np.ascontiguousarray(rows, dtype=np.float64)
    result: Float64 = np.vecdot(wide, query.vector.astype(np.float64)[:, None, :])
    return result


def prior_of(vectors: Float32, rows: Floats, layout: Layout) -> Float64:
    """Return relation priors [n] of rows [n, W] for query vectors [n, W]: <w_r, prior columns>."""
    weights = vectors[:, layout.priors].astype(np.float64)
    prior: Float64 = np.vecdot(rows[:, layout.priors].astype(np.float64), weights)
    return prior


def safe_floors(scorer: Scorer, query: Query, scores: Float64, row_norm: float) -> Float64:
    """Return products [B] below which an entity scores less than ``scores`` [B].

    Those of the scorer, less what float64 may lose in them.

    Args:
        scorer: what turns products into scores.
        query: B queries.
        scores: [B].
        row_norm: the largest Euclidean norm of a row of the table.
    """
    exact = scorer.floors(query, scores)
    wide = query.vector.astype(np.float64)
    scale = np.sqrt(np.vecdot(wide, wide)) * row_norm
    scale += np.abs(exact) + np.abs(query.offset) + np.abs(query.bias) + np.abs(scores)
    floors: Float64 = exact - _SLACK * scale - _TINY
    return floors


def scorer_for(score: Score, layout: Layout, largest_bias: float) -> Scorer:
    """Return the scorer that a manifest names."""
    if score.kind == "linear":
        return LinearScorer()
    return DistanceScorer(layout, score.curvature, largest_bias)

"""Queries, and how a query and a row of the table become a score.

Every score is float64 and depends on its query and its row alone: a pair has the same bits in a
batch, alone, searched or scored exhaustively. That is why products go through ``np.vecdot``, which
treats each pair by itself, and not through a matrix product, whose order of summation depends on
the shape.

Shape letters: B queries, K candidates of a query, W width, n pairs of a query and a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mulde.bundle.manifest import Score
from mulde.bundle.table.entity_table import Layout
from mulde.typing import Float32, Float64, Floats, Ints, Mask, Rows

# Far above what float64 loses in a score, far below what any rough product loses.
_SLACK = 1e-12
_TINY = 1e-30
_FIELDS = ("vector", "offset", "bias", "slope")


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

    @classmethod
    def join(cls, parts: list[Query]) -> Query:
        """Return the queries of several batches, one after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))

    def equals(self, other: Query) -> bool:
        """Return whether all numbers are equal."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in _FIELDS)

    def encoded(self) -> Query:
        """Return these queries."""
        return self


@dataclass(slots=True)
class HeadQueries:
    """Queries that are not encoded yet.

    Attributes:
        encode: from heads and relations to queries.
        heads: float32 [B, W], rows of the table.
        relations: int64 [B], in [0, 2R).
        taken: bool [W], the columns of an encoded query that count; the others are 0.
    """

    encode: Callable[[Float32, Rows], Query]
    heads: Float32
    relations: Rows
    taken: Mask

    def __len__(self) -> int:
        """B."""
        return len(self.relations)

    def take(self, which: slice | Ints) -> HeadQueries:
        """Return some of the questions."""
        return HeadQueries(self.encode, self.heads[which], self.relations[which], self.taken)

    def encoded(self) -> Query:
        """Return the queries."""
        query = self.encode(self.heads, self.relations)
        return replace(query, vector=np.where(self.taken, query.vector, np.float32(0)))


class ProductScorer(ABC):
    """How an inner product becomes a score (docs/explanation/bundle-format.md, "encoder.onnx").

    Attributes:
        is_monotone: whether, for one query, a greater product always means a greater score.
    """

    is_monotone: bool

    @abstractmethod
    def scores(self, query: Query, rows: Floats) -> Float64:
        """Return scores [B, K] of rows [B, K, W] (or [1, K, W], shared) for queries [B]."""

    def of_pairs(self, query: Query, owners: Rows, rows: Float64) -> Float64:
        """Return scores [n] of rows [n, W] for the queries that own them, the same to the bit."""
        return self.scores(query.take(owners), rows[:, None])[:, 0]

    @abstractmethod
    def floors(self, query: Query, scores: Float64) -> Float64:
        """Return the products [B] that are needed to reach ``scores`` [B], in exact arithmetic.

        An entity whose exact product with the query is below its floor scores less.
        """


class LinearScorer(ProductScorer):
    """score = <query, row> + offset + bias."""

    is_monotone = True

    def of_pairs(self, query: Query, owners: Rows, rows: Float64) -> Float64:
        """See ``ProductScorer``."""
        result: Float64 = np.vecdot(rows, _of_owners(query.vector.astype(np.float64), owners))
        result += _of_owners(query.offset + query.bias, owners)
        return result

    def scores(self, query: Query, rows: Floats) -> Float64:
        """See ``ProductScorer``."""
        return products(query, rows) + (query.offset + query.bias)[:, None]

    def floors(self, query: Query, scores: Float64) -> Float64:
        """See ``ProductScorer``."""
        return scores - (query.offset + query.bias)


class DistanceScorer(ProductScorer):
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
        """See ``ProductScorer``."""
        tail_bias = rows[..., self._tail_bias].sum(axis=-1, dtype=np.float64)
        tangent = products(query, rows) + query.offset[:, None]
        u = np.maximum(tail_bias - tangent, 0.0) / query.slope[:, None]
        result: Float64 = tail_bias - self._penalty(u) + query.bias[:, None]
        return result

    def _penalty(self, u: Float64) -> Float64:
        """Return f(u) = (sqrt(c) d)^2 / c, without cancellation near u = 0."""
        return np.square(_acosh1p(u)) / self._curvature

    def floors(self, query: Query, scores: Float64) -> Float64:
        """See ``ProductScorer``.

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


class NeighbourScorer(ProductScorer):
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
        """See ``ProductScorer``."""
        x = -query.offset[:, None]
        y = rows[..., self._layout.excess].sum(axis=-1, dtype=np.float64)
        points = np.ascontiguousarray(rows[..., self._layout.spatial], dtype=np.float64)
        own = np.ascontiguousarray(query.vector[:, None, self._layout.spatial], dtype=np.float64)
        u = np.maximum(x + (1.0 + x) * y - np.vecdot(points, own), 0.0)
        result: Float64 = -_acosh1p(u) / np.sqrt(self._curvature)
        return result

    def floors(self, query: Query, scores: Float64) -> Float64:
        """See ``ProductScorer``."""
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


def priors_of(query: Query, owners: Rows, rows: Float64, layout: Layout) -> Float64:
    """Return relation priors [n] of rows [n, W] for their queries: <w_r, prior columns>."""
    weights = query.vector[:, layout.priors].astype(np.float64)
    prior: Float64 = np.vecdot(rows[:, layout.priors], _of_owners(weights, owners))
    return prior


def _of_owners(numbers: Float64, owners: Rows) -> Float64:
    """Return numbers [B, ...] of queries for the pairs they own, [n, ...]; [1, ...] for one."""
    return numbers if len(numbers) == 1 else numbers.take(owners, axis=0)


def safe_floors(scorer: ProductScorer, query: Query, scores: Float64, row_norm: float) -> Float64:
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


def scorer_for(score: Score, layout: Layout, largest_bias: float) -> ProductScorer:
    """Return the scorer that a manifest names."""
    if score.kind == "linear":
        return LinearScorer()
    return DistanceScorer(layout, score.curvature, largest_bias)

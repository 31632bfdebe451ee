"""Which fetched answers are certainly those of exhaustive scoring.

Candidates are fetched by a float32 inner product and scored again in float64. Let s be the k-th
best score among the fetched that are allowed. If no entity that was not fetched can reach s, the
answer is exactly the exhaustive one. The scorer turns s into the exact product that an entity would
need (``Scorer.floors``); what float32 may have lost comes off that, and the result is the

    threshold: an entity whose float32 product is below it scores less than s.

So the answer is certified when everything that was not fetched has a smaller product than the
threshold; and fetching every entity at or above the threshold always certifies it.

Rounding: a sum of n products in float32, in whatever order and with or without fused
multiply-add, differs from the exact one by at most gamma_n * sum_i |q_i| |v_i|, with
gamma_n = n u / (1 - n u) and u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms,
2nd ed., section 3.1). The sum is bounded by the largest |v_i| of each column, and by norms.

Shape letters: B queries, E entities, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.encoder import Query
from serving.scoring import Array, Scorer

_UNIT_32 = 2.0**-24
# Far above what float64 loses in a score, far below what float32 loses in a product.
_SLACK_64 = 1e-12
_TINY = 1e-30


@dataclass(frozen=True)
class Certificate:
    """Thresholds for one table.

    Attributes:
        scorer: what turns scores into products.
        column_max: float64 [W], the largest magnitude in each column of the table.
        row_norm: the largest Euclidean norm of a row.
    """

    scorer: Scorer
    column_max: Array
    row_norm: float

    def thresholds(self, query: Query, scores: Array) -> Array:
        """Float32 products below which an entity certainly scores less than ``scores`` [B]."""
        floors = self.scorer.floors(query, scores)
        weight = self._weight(query.vector)
        scale = np.abs(floors) + np.abs(query.offset) + np.abs(query.bias) + np.abs(scores) + weight
        return floors - self._gamma * weight - _SLACK_64 * scale - _TINY

    @property
    def _gamma(self) -> float:
        """gamma_n with two more roundings, for columns that were added before multiplying."""
        error = (len(self.column_max) + 2) * _UNIT_32
        return error / (1.0 - error)

    def _weight(self, vectors: NDArray[np.float32]) -> Array:
        """At least sum_i |q_i| |v_i| for every row v of the table, [B]."""
        wide = np.abs(vectors.astype(np.float64))
        by_norm = np.sqrt(np.square(wide).sum(axis=1)) * self.row_norm
        weight: Array = np.minimum(wide @ self.column_max, by_norm)
        return weight

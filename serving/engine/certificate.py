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
2nd ed., section 3.1); and the sum is at most |q| |v|.

Shape letters: B queries, E entities, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.engine.encoder import Query
from serving.engine.scoring import Array, Scorer

_UNIT_32 = 2.0**-24
# Far above what float64 loses in a score, far below what float32 loses in a product.
_SLACK_64 = 1e-12
_TINY = 1e-30


@dataclass(frozen=True)
class Certificate:
    """Thresholds for one table.

    Attributes:
        scorer: what turns scores into products.
        width: W.
        row_norm: the largest Euclidean norm of a row of the table.
    """

    scorer: Scorer
    width: int
    row_norm: float

    def thresholds(self, query: Query, scores: Array) -> Array:
        """Float32 products below which an entity certainly scores less than ``scores`` [B]."""
        floors = self.scorer.floors(query, scores)
        wide = query.vector.astype(np.float64)
        weight = np.sqrt(np.vecdot(wide, wide)) * self.row_norm
        scale = np.abs(floors) + np.abs(query.offset) + np.abs(query.bias) + np.abs(scores)
        lost = (self._gamma + _SLACK_64) * weight + _SLACK_64 * scale
        thresholds: Array = floors - lost - _TINY
        return thresholds

    @property
    def _gamma(self) -> float:
        """gamma_n with two more roundings, for columns that were added before multiplying."""
        error = (self.width + 2) * _UNIT_32
        return error / (1.0 - error)

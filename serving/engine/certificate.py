"""Which fetched answers are certainly those of exhaustive scoring.

Candidates are fetched by a rough inner product and scored again in float64. Let s be the k-th best
score among the fetched that are allowed. If no entity that was not fetched can reach s, the answer
is exactly the exhaustive one. The scorer turns s into the exact product that an entity would need
(``Scorer.floors``); what float64 may lose comes off that, and the result is the

    floor: an entity whose exact product is below it scores less than s.

Every kind of index knows a product that nothing it left out exceeds (``View.unseen``): what it saw
of them, and a bound on what its rounding or its shortcuts may hide. So the answer is certified when
that is below the floor; and fetching every entity at or above the floor always certifies it.

Shape letters: B queries, E entities, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.engine.encoder import Query
from serving.engine.scoring import Array, Scorer

# Far above what float64 loses in a score, far below what any rough product loses.
_SLACK = 1e-12
_TINY = 1e-30


@dataclass(frozen=True)
class Certificate:
    """Floors for one table.

    Attributes:
        scorer: what turns scores into products.
        row_norm: the largest Euclidean norm of a row of the table.
    """

    scorer: Scorer
    row_norm: float

    def floors(self, query: Query, scores: Array) -> Array:
        """Exact products below which an entity certainly scores less than ``scores`` [B]."""
        exact = self.scorer.floors(query, scores)
        wide = query.vector.astype(np.float64)
        scale = np.sqrt(np.vecdot(wide, wide)) * self.row_norm
        scale += np.abs(exact) + np.abs(query.offset) + np.abs(query.bias) + np.abs(scores)
        floors: Array = exact - _SLACK * scale - _TINY
        return floors

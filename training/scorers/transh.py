"""TransH of MulDE: hyperbolic TransE (not Wang 2014's TransH)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from training.ops import hyperbolic
from training.scorers.base import HyperbolicScorer


class TransH(HyperbolicScorer):
    """Query point ``exp0(h) (+) exp0(r)``.

    Source: MulDE, section 3.2 (Wang et al. 2021).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.translation = self.normal(2 * self.num_relations, self.dimension)

    def encode(self, spatial: Tensor, relation: Tensor) -> Tensor:
        """Query points [B, D]."""
        step = hyperbolic.expmap0(self.translation[relation], self.curvature())
        return hyperbolic.add(spatial, step)

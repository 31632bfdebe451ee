"""DistH of MulDE: hyperbolic DistMult."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.ops import hyperbolic
from training.scorers.base import HyperbolicScorer


class DistH(HyperbolicScorer):
    """Query point ``exp0(h) * exp0(r)``, element by element, in the ball.

    For c < 1 the product can leave the ball; it is projected back.

    Source: MulDE, section 3.2 (Wang et al. 2021). The projection is ours.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.diagonal = self.normal(2 * self.num_relations, self.dimension)

    def encode(self, spatial: Tensor, relation: Tensor) -> Tensor:
        """Query points [B, D]; in unit-ball coordinates p the product is ``p_h p_r / sqrt(c)``."""
        curvature = self.curvature()
        head = hyperbolic.to_unit_ball(spatial)
        diagonal = hyperbolic.to_unit_ball(hyperbolic.expmap0(self.diagonal[relation], curvature))
        product = head * diagonal / torch.sqrt(curvature)
        return hyperbolic.from_unit_ball(hyperbolic.project(product))

"""LorentzLinear: a full linear map of the head's coordinates per relation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.ops import hyperbolic
from training.scorers.base import HyperbolicScorer


class LorentzLinear(HyperbolicScorer):
    """Query point: the hyperboloid point whose spatial part is ``A_r H + h0 v_r + t_r``.

    H is the head's spatial part and h0 its excess, so the map sees all of the head's Lorentz
    coordinates, and its result is a point for any values of A_r [D, D], v_r and t_r [D]: the
    time coordinate follows. Rotations, boosts and scalings are special cases. A_r starts at a
    block rotation, so that training starts from RotH-like behaviour.

    Source: the Lorentz linear layer of Chen et al. 2022, "Fully Hyperbolic Neural Networks",
    arXiv:2105.14686, without its output rescaling.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        count, width = 2 * self.num_relations, self.dimension
        turns = hyperbolic.rotate(
            self.blocks(count, 1, width).expand(-1, width, -1), torch.eye(width)
        )
        self.matrix = nn.Parameter(turns.detach().clone())
        self.boost = self.normal(count, width)
        self.translation = self.normal(count, width)

    def encode(self, spatial: Tensor, relation: Tensor) -> Tensor:
        """Query points [B, D]."""
        mapped = torch.bmm(spatial.unsqueeze(1), self.matrix[relation]).squeeze(1)
        boosted = hyperbolic.excess(spatial).unsqueeze(-1) * self.boost[relation]
        return mapped + boosted + self.translation[relation]

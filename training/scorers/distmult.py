"""DistMult: a diagonal bilinear scorer, kept for models that were trained elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.scorers.bilinear import BilinearScorer


class DistMult(BilinearScorer):
    """``score(h, r, t) = <h * r, t>``; symmetric, so a reciprocal relation equals its relation.

    Args:
        entities, relations: E and R.
        dimension: D.
        spread: standard deviation of the initial values.
        generator: source of the initial values.

    Source: Yang et al. 2015, arXiv:1412.6575.
    """

    def __init__(
        self,
        entities: int,
        relations: int,
        dimension: int,
        *,
        spread: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            entities, relations, dimension, spread=spread, biased=False, generator=generator
        )
        drawn = torch.randn(2 * relations, dimension, generator=generator) * spread
        self.relation = nn.Parameter(drawn)

    def encode(self, head: Tensor, relation: Tensor) -> Tensor:
        """h * r, [B, D]."""
        return head * self.relation[relation]

"""DistMult: a diagonal bilinear scorer, kept for models that were trained elsewhere."""

from __future__ import annotations

from torch import Tensor

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

    def encode(self, head: Tensor, relation: Tensor) -> Tensor:
        """h * r, [B, D]."""
        return head * self.relation[relation]

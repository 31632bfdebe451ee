"""QuatE: rotations of quaternions, kept for models that were trained elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from training.scorers.bilinear import BilinearScorer


class QuatE(BilinearScorer):
    """``score(h, r, t) = <h (x) r / |r|, t>`` over D / 4 quaternions, (x) the Hamilton product.

    A vector holds four parts of D / 4 numbers: real, i, j, k.

    Args:
        entities, relations: E and R.
        dimension: D, a multiple of 4.
        spread: standard deviation of the initial values.
        generator: source of the initial values.

    Source: Zhang et al. 2019, arXiv:1904.10281.
    """

    def encode(self, head: Tensor, relation: Tensor) -> Tensor:
        """The Hamilton product of head and unit relation, [B, D]."""
        parts = self.relation[relation].unflatten(-1, (4, -1))
        length = parts.square().sum(-2, keepdim=True).clamp_min(1e-30).sqrt()
        a, b, c, d = head.chunk(4, -1)
        e, f, g, h = (parts / length).unbind(-2)
        return torch.cat(
            [
                a * e - b * f - c * g - d * h,
                a * f + b * e + c * h - d * g,
                a * g - b * h + c * e + d * f,
                a * h + b * g - c * f + d * e,
            ],
            -1,
        )

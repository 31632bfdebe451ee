"""RESCAL: a full matrix per relation, the most that one inner product can say at a dimension."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.scorers.bilinear import BilinearQuery, BilinearScorer

_NOISE = 0.1


class RESCAL(BilinearScorer):
    """``score(h, r, t) = <h M_r + v_r, t> + b_t`` with M_r [D, D] and v_r [D].

    At a small dimension the relations, not the entities, are what a model can afford to make
    larger: R matrices of D^2 numbers beside E vectors of D. Meant for 1-vs-all cross entropy with
    the penalty ``|h|^2 + |h M_r + v_r|^2 + |t|^2``. M_r starts near the identity.

    Args:
        entities, relations: E and R.
        dimension: D.
        spread: standard deviation of the initial values of entities.
        generator: source of the initial values.

    Source: Nickel et al. 2011; the penalty by Zhang et al. 2020 (DURA), arXiv:2011.05816. The
    translation and the tail bias are ours.
    """

    biased = True

    def start_relations(self, spread: float, generator: torch.Generator) -> None:
        """Create the matrices M and the translations v."""
        rows, size = 2 * self.num_relations, self.dimension
        noise = torch.randn(rows, size, size, generator=generator) * _NOISE
        self.matrix = nn.Parameter(torch.eye(size) + noise)
        self.translation = nn.Parameter(torch.zeros(rows, size))

    @torch.no_grad()
    def round_matrices(self) -> None:
        """Round M to the half precision in which an encoder stores it."""
        self.matrix.copy_(self.matrix.half())

    def encode(self, head: Tensor, relation: Tensor) -> Tensor:
        """h M_r + v_r."""
        mapped = torch.bmm(head.unsqueeze(1), self.matrix[relation]).squeeze(1)
        return mapped + self.translation[relation]

    def penalty(self, query: BilinearQuery, count: Tensor, rows: Tensor) -> Tensor:
        """DURA: squared norms of head, encoded query and tail over the triples."""
        both = query.head.square().sum(-1) + query.encoded.square().sum(-1)
        return (both * count).sum() + self.entity[rows].square().sum()

"""The Senior: relation-specific scaling and contrast attention over the teachers.

Shape letters: B queries, K candidates, M teachers, R relations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax


class Senior(nn.Module):
    """Blends the teachers' scores of the Junior's own top K into one soft label.

    ``s^_i = sigmoid(W[r, i]) s_i``; ``D_i = KL(softmax(s_J) || softmax(s^_i))``;
    ``a = softmax(-D / tau)``; ``s_S = sum_i a_i s^_i``.

    Args:
        relations: R; W has 2R rows and starts at ones.
        teachers: M.
        scaling: ``False`` leaves out W (every s^_i = s_i).
        attention: ``False`` leaves out a (every teacher weighs 1/M).

    Source: MulDE, section 4 (Wang et al. 2021). The Junior's scores inside a are detached.
    """

    def __init__(
        self, relations: int, teachers: int, *, scaling: bool = True, attention: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2 * relations, teachers), requires_grad=scaling)
        self.scaling, self.attention = scaling, attention

    def scaled(self, teacher_scores: Tensor, relation: Tensor) -> Tensor:
        """s^ [B, M, K] from teacher scores [B, M, K] and relations [B]."""
        if not self.scaling:
            return teacher_scores
        return teacher_scores * self.trust(relation).unsqueeze(-1)

    def trust(self, relation: Tensor) -> Tensor:
        """sigmoid(W[r, i]) [B, M] of relations [B]; ones where nothing is scaled."""
        weight = self.weight[relation]
        return torch.sigmoid(weight) if self.scaling else torch.ones_like(weight)

    def contrast(self, scaled: Tensor, junior: Tensor, temperature: float) -> Tensor:
        """Attention a [B, M] from s^ [B, M, K] and the Junior's scores [B, K]; rows sum to 1."""
        if not self.attention:
            return torch.full_like(scaled[..., 0], 1 / scaled.shape[1])
        own = log_softmax(junior.detach(), -1).unsqueeze(1)
        difference = kl_div(log_softmax(scaled, -1), own, log_target=True, reduction="none")
        return torch.softmax(-difference.sum(-1) / temperature, -1)

    def forward(
        self, teacher_scores: Tensor, junior: Tensor, relation: Tensor, temperature: float
    ) -> Tensor:
        """Soft label scores s_S [B, K]."""
        scaled = self.scaled(teacher_scores, relation)
        attention = self.contrast(scaled, junior, temperature)
        return torch.einsum("bm,bmk->bk", attention, scaled)


def attention_temperature(epoch: int, period: float = 5.0) -> float:
    """``tau_t = exp(floor(epoch / period))``: first the likest teacher leads, later all are equal.

    ``epoch`` counts from 0. Held at e^20, where all weights are equal in fp32 anyway.
    """
    return math.exp(min(math.floor(epoch / period), 20))

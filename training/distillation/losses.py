"""Hard-label losses over shared negatives, and the distillation losses of MulDE.

Shape letters: B queries, N negatives, P targets of all queries, K candidates, M teachers.
The hard loss is a mean per triple, so it does not depend on how triples are grouped by query; the
others are means per query, or per triple where ``weight`` is the count of each query's triples.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, softplus

from training.distillation.queries import Batch

_QUERIES_OF_A_TILE = {torch.bfloat16: 256}
"""Queries that a CPU scores at a time; 64 of other types, whose products gain nothing by more."""
_IMPOSSIBLE = -1e9
"""A score with no share of a softmax; finite, so that a row of nothing else is no NaN."""


def binary_cross_entropy(
    positive: Tensor,
    negative: Tensor,
    batch: Batch,
    *,
    negative_weight: float | None = None,
    adversarial_temperature: float = 0.0,
) -> Tensor:
    """Mean over the triples of the BCE of one target and N shared negatives.

    ``(softplus(-s_t) + w sum_n p_n softplus(s_n)) / (1 + w)``, where p is uniform, or with an
    adversarial temperature a > 0 ``softmax(a s)`` without gradient (self-adversarial weights,
    Sun et al. 2019, arXiv:1902.10197).

    Args:
        positive: [P] scores of the targets.
        negative: [B, N] scores of the shared negatives.
        batch: its ``count`` [B] is the number of triples of each row of negatives.
        negative_weight: w, the total weight of the negatives against the target's 1; ``None``
            is N, the plain mean over 1 + N candidates: the negatives outweigh the target N to 1.
        adversarial_temperature: a.
    """
    weight = float(negative.shape[1]) if negative_weight is None else negative_weight
    losses = softplus(negative)
    if adversarial_temperature > 0:
        share = (negative.detach() * adversarial_temperature).softmax(-1)
        per_query = (share * losses).sum(-1)
    else:
        per_query = losses.mean(-1)
    total = softplus(-positive).sum() + weight * (batch.count * per_query).sum()
    return total / (len(positive) * (1 + weight))


def sampled_partition(batch: Batch, drawn: Tensor, entities: int) -> tuple[Tensor, Tensor, Batch]:
    """Return the entities that stand for all in a log-partition.

    The batch's targets stand for themselves. The n drawn entities that are no targets stand for the
    rest: each adds ``exp(s) (E - U) / n``, so the estimate of the partition is unbiased.

    Args:
        batch: P targets, U distinct ones.
        drawn: [N], uniform.
        entities: E.

    Returns:
        rows [U + n]; what is added to their scores [U + n]; the batch with targets in [0, U).
    """
    own, place = torch.unique(batch.target, return_inverse=True)
    others = drawn[~torch.isin(drawn, own)]
    stands_for = max(entities - len(own), 1) / max(len(others), 1)
    offsets = torch.zeros(len(own) + len(others), device=own.device)
    offsets[len(own) :] = math.log(stands_for)
    return torch.cat([own, others]), offsets, replace(batch, target=place)


class LinearCrossEntropy(torch.autograd.Function):
    """1-vs-all cross entropy of scores that are one product of matrices, mean over the triples.

    ``mean(logsumexp(q T^T) - <q, t>)``. The gradient is formed in the forward pass, a tile of
    queries at a time, so scores and their gradient never exist as a whole [B, E] matrix on a CPU
    and each tile is read while it is still in the cache. Exponentials, sums over tiles and the
    terms of the targets have the precision of the arguments, whatever that of the products.

    Args:
        queries: [B, D].
        table: [E, D].
        batch: the targets, and how many each query has.
        products: type of the factors of the three products: scores, gradient of the queries,
            gradient of the table; None for that of the arguments.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, queries: Tensor, table: Tensor, batch: Batch, products: torch.dtype | None = None
    ) -> Tensor:
        left, right = torch.zeros_like(queries), torch.zeros_like(table)
        partition = queries.new_zeros(())
        products = products or table.dtype
        size = _QUERIES_OF_A_TILE.get(products, 64) if table.is_cpu else len(queries)
        factors = table.to(products)
        for tile, count, out in zip(
            queries.to(products).split(size),
            batch.count.split(size),
            left.split(size),
            strict=True,
        ):
            scores = (tile @ factors.T).to(queries.dtype)
            top = scores.amax(-1, keepdim=True)
            scores.sub_(top).exp_()
            mass = scores.sum(-1, keepdim=True)
            partition += ((mass.log() + top).squeeze(-1) * count).sum()
            share = scores.mul_(count.unsqueeze(-1) / mass).to(products)
            out.copy_(share @ factors)
            _add_product(right, share.T, tile)
        own, targets = queries[batch.owner], table[batch.target]
        left.index_add_(0, batch.owner, targets, alpha=-1)
        right.index_add_(0, batch.target, own, alpha=-1)
        total = len(batch.target)
        ctx.save_for_backward(left.div_(total), right.div_(total))
        return (partition - (own * targets).sum()) / total

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:  # noqa: D102
        left, right = ctx.saved_tensors
        return gradient[0] * left, gradient[0] * right, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left @ right``; without a matrix of its own where the types are the same."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)


def soft_label_loss(
    senior: Tensor,
    junior: Tensor,
    temperature: float,
    weight: Tensor | None = None,
    ignored: Tensor | None = None,
) -> Tensor:
    """``T^2 KL(softmax(s_S / T) || softmax(s_J / T))``, summed over K, averaged over queries.

    A query all of whose candidates are ignored adds nothing.

    Args:
        senior: [B, K] soft label scores; detach them if they are to be labels only.
        junior: [B, K].
        temperature: T > 0.
        weight: [B] how often each query counts; ``None`` is once.
        ignored: [B, K], true for candidates that both distributions leave out.
    """
    if ignored is not None:
        senior, junior = (s.masked_fill(ignored, _IMPOSSIBLE) for s in (senior, junior))
    target = log_softmax(senior / temperature, -1)
    given = log_softmax(junior / temperature, -1)
    per_query = kl_div(given, target, log_target=True, reduction="none").sum(-1)
    mean = per_query.mean() if weight is None else (per_query * weight).sum() / weight.sum()
    return mean * temperature**2


def senior_loss(senior: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over K and the queries of the BCE of the soft label scores with the hard labels.

    Args:
        senior: [B, K] soft label scores s_S.
        labels: [B, K] in [0, 1]. A query with n targets stands for n one-hot triples, whose mean
            has 1/n at each target.
        weight: [B] how often each query counts; ``None`` is once.
    """
    per_query = (softplus(senior) - labels * senior).mean(-1)
    return per_query.mean() if weight is None else (per_query * weight).sum() / weight.sum()

"""Solve for the vectors of new entities of a bilinear scorer, many at a time.

The objective is that of ``mulde.placement.solver`` with the bias fixed
(docs/explanation/new-entities.md): a new entity answers the queries of its facts, does not answer a
sample of known queries, and stays near the mean of its queries m.

    sum_i softplus(Z_i - <q_i, z>) + w sum_g softplus(<q_g, z> - Z_g) + pull n |z - m|^2

Z is a query's log-partition over the known entities: the first sum is what cross entropy charges.

Shape letters: N new entities, n facts of all of them, G known queries, K known entities,
D dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

_STEPS = 4
PULL = 0.5
_ROWS = 4096


@dataclass(frozen=True)
class KnownQueries:
    """What all new entities share.

    Attributes:
        table: [K, D], the known entities.
        bias: [K], their tail biases.
        queries: [G, D], sampled queries that the training has asked.
        weight: w, of one of them.
        new_bias: tail bias of a new entity.
    """

    table: Tensor
    bias: Tensor
    queries: Tensor
    weight: float
    new_bias: float = 0.0

    def levels(self, queries: Tensor) -> Tensor:
        """Return what a product must reach in queries [B, D]: log-partition less new bias."""
        scores = (part @ self.table.T + self.bias for part in queries.split(_ROWS))
        return torch.cat([part.logsumexp(1) for part in scores]) - self.new_bias


def solve(known: KnownQueries, queries: Tensor, owners: Tensor, start: Tensor) -> Tensor:
    """Return vectors [N, D], after Newton steps; the problem is convex.

    Args:
        known: the scorer's.
        queries: [n, D], of the facts; each new entity has at least one.
        owners: [n], in [0, N): whose.
        start: [N, D], m.
    """
    objective = _Objective(known, queries, owners, start)
    point, before = start, objective.value(start)
    for _ in range(_STEPS):
        step = torch.linalg.solve(objective.curvature(point), objective.gradient(point))
        tried = [point - step, point - step / 4, point]
        values = torch.stack([objective.value(tried[0]), objective.value(tried[1]), before])
        best = values.argmin(0)
        point = torch.stack(tried)[best, torch.arange(len(point), device=point.device)]
        before = values.amin(0)
    return point


class _Objective:
    """The objective of all new entities, each by itself."""

    def __init__(self, known: KnownQueries, queries: Tensor, owners: Tensor, start: Tensor) -> None:
        self._known, self._queries, self._owners, self._start = known, queries, owners, start
        self._levels, self._guard_levels = known.levels(queries), known.levels(known.queries)
        counts = torch.bincount(owners, minlength=len(start))
        self._pull = 2 * PULL * counts.to(start).unsqueeze(1)
        outer = known.queries.unsqueeze(2) * known.queries.unsqueeze(1)
        self._guard_pairs = outer.flatten(1)

    def _misses(self, point: Tensor) -> Tensor:
        """Return by how much facts miss their level, [n]."""
        return self._levels - (self._queries * point[self._owners]).sum(1)

    def _exceeds(self, point: Tensor) -> Tensor:
        """Return by how much known queries are exceeded, [N, G]."""
        return point @ self._known.queries.T - self._guard_levels

    def value(self, point: Tensor) -> Tensor:
        """Return the values [N]."""
        total = self._known.weight * softplus(self._exceeds(point)).sum(1)
        total = total.index_add(0, self._owners, softplus(self._misses(point)))
        return total + (self._pull / 2 * (point - self._start).square()).sum(1)

    def gradient(self, point: Tensor) -> Tensor:
        """Return the gradients [N, D]."""
        guard = torch.sigmoid(self._exceeds(point)) @ self._known.queries * self._known.weight
        facts = torch.sigmoid(self._misses(point)).unsqueeze(1) * self._queries
        pulled = guard + self._pull * (point - self._start)
        return pulled.index_add(0, self._owners, facts, alpha=-1)

    def curvature(self, point: Tensor) -> Tensor:
        """Return the matrices [N, D, D] of second derivatives."""
        count, width = point.shape
        guard = torch.sigmoid(self._exceeds(point))
        matrix = (self._known.weight * guard * (1 - guard)) @ self._guard_pairs
        matrix = matrix.view(count, width, width)
        matrix.diagonal(dim1=1, dim2=2).add_(self._pull)
        chance = torch.sigmoid(self._misses(point))
        scaled = self._queries * (chance * (1 - chance)).unsqueeze(1)
        for left, right, owners in zip(
            *(part.split(_ROWS) for part in (scaled, self._queries, self._owners)), strict=True
        ):
            matrix.index_add_(0, owners, left.unsqueeze(2) * right.unsqueeze(1))
        return matrix

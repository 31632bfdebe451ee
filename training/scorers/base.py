"""What all scorers share, and what the hyperbolic ones do: a table on the hyperboloid, two scores.

A hyperbolic scorer differs from the others in one method, ``encode``: where the query point of
(entity, relation) lies. From there on the score of a candidate t depends on
``u = cosh(distance) - 1`` alone, which is linear in t's coordinates, so all paths are products
of matrices:

* ``distance``: ``-acosh(1 + u)^2 / c + b_h + b_t``, the paper's ``-d^2``;
* ``linear``: ``-2 sigma_r u / c + b_h + b_t``, a scaled squared Lorentzian distance, which an
  inner-product index serves exactly.

Shape letters: B queries, N shared candidates, K own candidates per query, P (query, target)
pairs, D dimension, E entities, R relations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from training import hyperbolic
from training.queries import Batch

ScoreKind = Literal["distance", "linear", "bilinear"]
Start = Literal["uniform", "normal"]


class Scorer(nn.Module, ABC):
    """Scores candidates of queries (entity, relation, ?); higher is more plausible.

    A query is encoded once and then scored along one of three paths, which must agree.
    """

    num_entities: int
    num_relations: int
    dimension: int
    kind: ScoreKind

    @abstractmethod
    def query(self, entity: Tensor, relation: Tensor) -> Any:
        """Encode the queries (entity [B], relation [B] in [0, 2R)); opaque to the caller."""

    @abstractmethod
    def score_shared(self, query: Any, rows: Tensor | None = None) -> Tensor:
        """Scores [B, N] of candidates ``rows`` [N] that all queries share, or of all entities."""

    @abstractmethod
    def score_own(self, query: Any, rows: Tensor) -> Tensor:
        """Scores [B, K] of candidates ``rows`` [B, K], each query's own."""

    @abstractmethod
    def score_pairs(self, query: Any, owner: Tensor, rows: Tensor) -> Tensor:
        """Scores [P] of candidate ``rows[p]`` for query ``owner[p]``."""

    def cross_entropy(self, query: Any, batch: Batch) -> Tensor:
        """1-vs-all cross entropy, mean over the triples: ``logsumexp(s) - s_t``."""
        scores = self.score_shared(query)
        partition = (scores.logsumexp(-1) * batch.count).sum()
        return (partition - scores[batch.owner, batch.target].sum()) / len(batch.target)

    def penalty(self, query: Any, count: Tensor, rows: Tensor) -> Tensor:
        """Sum over triples of the family's regulariser; 0 unless the family has one.

        Args:
            query: B encoded queries.
            count: [B], for how many triples each stands.
            rows: [P], the triples' tails.
        """
        return torch.zeros((), device=count.device)


@dataclass(frozen=True)
class Query:
    """Encoded queries: point [B, D] and its excess [B], score scale [B], head bias [B]."""

    spatial: Tensor
    excess: Tensor
    scale: Tensor
    bias: Tensor


class HyperbolicScorer(Scorer):
    """Base of all hyperbolic scorers.

    Args:
        entities, relations: E and R; relation rows R..2R-1 are the reciprocals.
        dimension: D, even.
        score: how u becomes a score.
        spread: standard deviation of the initial entity and translation parameters. The paper's
            0.001 starts all points at the origin, where gradients vanish.
        rotations: how the parameters of rotations start: ``uniform`` in (-1, 1), so that each
            block is some rotation, or ``normal`` with ``spread`` as in the paper.
        generator: source of the initial values.
    """

    def __init__(
        self,
        entities: int,
        relations: int,
        dimension: int,
        *,
        score: ScoreKind = "distance",
        spread: float = 1e-3,
        rotations: Start = "uniform",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_entities, self.num_relations, self.dimension = entities, relations, dimension
        self.kind: ScoreKind = score
        self._spread, self._rotations, self._generator = spread, rotations, generator
        self.entity = self.normal(entities, dimension)
        self.head_bias = nn.Parameter(torch.zeros(entities))
        self.tail_bias = nn.Parameter(torch.zeros(entities))
        self.raw_curvature = nn.Parameter(torch.ones(()))
        if score == "linear":
            self.raw_scale = nn.Parameter(torch.full((2 * relations,), 0.5413))

    def normal(self, *shape: int) -> nn.Parameter:
        """A parameter of normal values with standard deviation ``spread``."""
        return nn.Parameter(torch.randn(*shape, generator=self._generator) * self._spread)

    def blocks(self, *shape: int) -> nn.Parameter:
        """The parameters of Givens rotations or reflections, started as ``rotations`` says."""
        if self._rotations == "normal":
            return self.normal(*shape)
        return nn.Parameter(torch.rand(*shape, generator=self._generator) * 2 - 1)

    def curvature(self) -> Tensor:
        """c = softplus(c') > 0; the space has curvature -c."""
        return nn.functional.softplus(self.raw_curvature)

    def spatial(self, rows: Tensor | None = None) -> Tensor:
        """Points [..., D] of entity ``rows`` [...], or of all."""
        tangent = self.entity if rows is None else self.entity[rows]
        return hyperbolic.expmap0(tangent, self.curvature())

    def scale(self, relation: Tensor) -> Tensor:
        """[B], what multiplies u or acosh(1 + u)^2 in the score: 2 sigma_r / c, or 1 / c."""
        if self.kind == "linear":
            return 2 * nn.functional.softplus(self.raw_scale[relation]) / self.curvature()
        return (1 / self.curvature()).expand(len(relation))

    @abstractmethod
    def encode(self, spatial: Tensor, relation: Tensor) -> Tensor:
        """Query points [B, D] of entity points [B, D] and relations [B] in [0, 2R)."""

    def query(self, entity: Tensor, relation: Tensor) -> Query:
        """Encode the queries (entity [B], relation [B])."""
        point = self.encode(self.spatial(entity), relation)
        return Query(point, hyperbolic.excess(point), self.scale(relation), self.head_bias[entity])

    def score_shared(self, query: Query, rows: Tensor | None = None) -> Tensor:
        """Scores [B, N] of candidates ``rows`` [N] that all queries share, or of all entities."""
        points = self.spatial(rows)
        left = torch.cat([query.spatial, -(1 + query.excess).unsqueeze(-1)], -1)
        right = torch.cat([points, hyperbolic.excess(points).unsqueeze(-1)], -1)
        u = torch.addmm(query.excess.unsqueeze(-1), left, right.T, alpha=-1)
        tail_bias = self.tail_bias if rows is None else self.tail_bias[rows]
        return self._from_u(u, query.scale[:, None], query.bias[:, None] + tail_bias)

    def score_own(self, query: Query, rows: Tensor) -> Tensor:
        """Scores [B, K] of candidates ``rows`` [B, K], each query's own."""
        points = self.spatial(rows)
        inner = torch.bmm(points, query.spatial.unsqueeze(-1)).squeeze(-1)
        x = query.excess[:, None]
        u = x + (1 + x) * hyperbolic.excess(points) - inner
        return self._from_u(u, query.scale[:, None], query.bias[:, None] + self.tail_bias[rows])

    def score_pairs(self, query: Query, owner: Tensor, rows: Tensor) -> Tensor:
        """Scores [P] of candidate ``rows[p]`` for query ``owner[p]``."""
        points = self.spatial(rows)
        x = query.excess[owner]
        inner = (query.spatial[owner] * points).sum(-1)
        u = x + (1 + x) * hyperbolic.excess(points) - inner
        return self._from_u(u, query.scale[owner], query.bias[owner] + self.tail_bias[rows])

    def _from_u(self, u: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        value = u if self.kind == "linear" else hyperbolic.squared_distance(u)
        return bias - scale * value

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
from torch.nn.functional import embedding

from training.distillation.losses import LinearCrossEntropy, sampled_partition
from training.distillation.queries import Batch
from training.ops import hyperbolic
from training.ops.entity_columns import entity_columns
from training.ops.sampled_matmul import sampled_products

ScoreKind = Literal["distance", "linear", "bilinear"]
Start = Literal["uniform", "normal"]
_CPU_SCORES, _GPU_SCORES = 1 << 19, 1 << 27
"""Scores that are formed at once: 2 MiB stay in a CPU's cache; 512 MiB keep a GPU busy."""


def lookup(table: Tensor, rows: Tensor) -> Tensor:
    """Return ``table[rows]`` [..., D]; on a CPU its gradient is sparse until the table has it all.

    A dense gradient would be a new [E, D] of zeros for each of the few look-ups of a step.
    """
    return embedding(rows, table, sparse=table.requires_grad and table.is_cpu)


def dense_gradients(table: nn.Parameter) -> nn.Parameter:
    """Make a table's gradient dense once all of it has arrived, as optimisers expect."""

    def finish(table: Tensor) -> None:
        if table.grad is not None and table.grad.is_sparse:
            table.grad = table.grad.to_dense()

    table.register_post_accumulate_grad_hook(finish)
    return table


class Scorer(nn.Module, ABC):
    """Scores candidates of queries (entity, relation, ?); higher is more plausible.

    A query is encoded once and then scored along one of three paths, which must agree.
    """

    num_entities: int
    num_relations: int
    dimension: int
    kind: ScoreKind

    head_bias: Tensor
    tail_bias: Tensor

    @abstractmethod
    def curvature(self) -> Tensor:
        """c > 0 of the space that the points lie in."""

    @abstractmethod
    def spatial(self, rows: Tensor | None = None) -> Tensor:
        """Points [..., D] of entity ``rows`` [...], or of all."""

    @abstractmethod
    def scale(self, relation: Tensor) -> Tensor:
        """[B], above 0: the ``slope`` with which :meth:`product` gives a linear score."""

    @abstractmethod
    def product(
        self, spatial: Tensor, relation: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The part of a score that is linear in a candidate's point Y and its excess y.

        It is ``<first, Y> + second y + third``: ``-slope u`` of a hyperbolic scorer, the score of
        a bilinear one (docs/explanation/bundle-format.md, "encoder.onnx").

        Args:
            spatial: [B, D], points of the queries' entities.
            relation: [B] in [0, 2R).
            slope: [B].

        Returns:
            [B, D], [B] and [B].
        """

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

    def linear_table(self) -> Tensor | None:
        """Return [E, W] whose products with ``linear_queries`` order candidates as scores do.

        None for a score that no inner product orders.
        """
        return None

    def linear_queries(self, query: Any) -> Tensor:
        """Return [B, W], the queries' side of ``linear_table``."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Never change again; what can be computed once may be."""
        self.requires_grad_(False).eval()

    def cross_entropy(
        self,
        query: Any,
        batch: Batch,
        products: torch.dtype | None = None,
        drawn: Tensor | None = None,
    ) -> Tensor:
        """1-vs-all cross entropy, mean over the triples: ``logsumexp(s) - s_t``.

        A linear score is one product of matrices up to a constant of the query, which the
        difference does not have; then the matrix of scores is never formed.

        Args:
            query: B encoded queries.
            batch: their targets.
            products: type of the factors of that product, None for theirs; a distance has none.
            drawn: [N] uniform entities, from which the sum over all is estimated; None sums.
        """
        rows, offsets = None, None
        if drawn is not None:
            rows, offsets, batch = sampled_partition(batch, drawn, self.num_entities)
        table = self.linear_table()
        if table is not None:
            queries = self.linear_queries(query)
            if offsets is not None:
                table = torch.cat([table[rows], offsets.unsqueeze(-1)], -1)
                queries = torch.cat([queries, torch.ones_like(queries[:, :1])], -1)
            loss: Tensor = LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
                queries, table, batch, products
            )
            return loss
        scores = self.score_shared(query, rows)
        if offsets is not None:
            scores = scores + offsets
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
class HyperbolicQuery:
    """Encoded queries; ``product = offset + <left, columns of a candidate>``.

    The product is the score itself (``linear``) or u (``distance``).

    Attributes:
        left: [B, D + 2].
        offset, scale, bias: [B]; scale and bias are those of the score.
    """

    left: Tensor
    offset: Tensor
    scale: Tensor
    bias: Tensor

    def part(self, rows: slice) -> HyperbolicQuery:
        """Some of them."""
        return HyperbolicQuery(
            self.left[rows], self.offset[rows], self.scale[rows], self.bias[rows]
        )


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
        self.entity = dense_gradients(self.normal(entities, dimension))
        self.head_bias = nn.Parameter(torch.zeros(entities))
        self.tail_bias = nn.Parameter(torch.zeros(entities))
        self.raw_curvature = nn.Parameter(torch.ones(()))
        self._frozen: Tensor | None
        self.register_buffer("_frozen", None, persistent=False)
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
        tangent = self.entity if rows is None else lookup(self.entity, rows)
        return hyperbolic.expmap0(tangent, self.curvature())

    def scale(self, relation: Tensor) -> Tensor:
        """[B], what multiplies u or acosh(1 + u)^2 in the score: 2 sigma_r / c, or 1 / c."""
        if self.kind == "linear":
            return 2 * nn.functional.softplus(self.raw_scale[relation]) / self.curvature()
        return (1 / self.curvature()).expand(len(relation))

    @abstractmethod
    def encode(self, spatial: Tensor, relation: Tensor) -> Tensor:
        """Query points [B, D] of entity points [B, D] and relations [B] in [0, 2R)."""

    def columns(self, rows: Tensor | None = None) -> Tensor:
        """What a candidate brings to a product: [..., D + 2] (point, excess, tail bias)."""
        if self._frozen is not None:
            return self._frozen if rows is None else embedding(rows, self._frozen)
        if rows is None:
            return entity_columns(self.entity, self.tail_bias, self.curvature())
        tangent, bias = lookup(self.entity, rows.flatten()), self.tail_bias[rows.flatten()]
        return entity_columns(tangent, bias, self.curvature()).view(*rows.shape, -1)

    def freeze(self) -> None:
        """Never change again: the columns of all entities are computed once and kept."""
        self.requires_grad_(False).eval()
        self._frozen = self.columns()

    def linear_table(self) -> Tensor | None:
        """Return the columns [E, D + 2] of a linear score."""
        return self.columns() if self.kind == "linear" else None

    def linear_queries(self, query: HyperbolicQuery) -> Tensor:
        """Return [B, D + 2]."""
        return query.left

    def product(
        self, spatial: Tensor, relation: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``-slope u = <slope X, Y> - slope (1 + x) y - slope x`` of the query point X."""
        point = self.encode(spatial, relation)
        x = hyperbolic.excess(point)
        return slope.unsqueeze(-1) * point, -slope * (1 + x), -slope * x

    def query(self, entity: Tensor, relation: Tensor) -> HyperbolicQuery:
        """Encode the queries (entity [B], relation [B])."""
        point = self.encode(self.spatial(entity), relation)
        excess, scale = hyperbolic.excess(point), self.scale(relation)
        bias = self.head_bias[entity]
        ones = torch.ones_like(excess)
        if self.kind == "linear":
            last = torch.stack([-scale * (1 + excess), ones], -1)
            left = torch.cat([scale.unsqueeze(-1) * point, last], -1)
            return HyperbolicQuery(left, bias - scale * excess, scale, bias)
        last = torch.stack([1 + excess, torch.zeros_like(ones)], -1)
        return HyperbolicQuery(torch.cat([-point, last], -1), excess, scale, bias)

    def score_shared(self, query: HyperbolicQuery, rows: Tensor | None = None) -> Tensor:
        """Scores [B, N]: one matrix product.

        Distances of many candidates, where no gradient is wanted, are taken a few queries at a
        time: a dozen passes over what lies in the cache instead of over the memory.
        """
        columns = self.columns(rows)
        few = max(1, (_CPU_SCORES if columns.is_cpu else _GPU_SCORES) // len(columns))
        if self.kind == "linear" or torch.is_grad_enabled() or len(query.left) <= few:
            return self._shared(query, columns)
        scores = columns.new_empty(len(query.left), len(columns))
        for start in range(0, len(scores), few):
            part = slice(start, start + few)
            scores[part] = self._shared(query.part(part), columns)
        return scores

    def _shared(self, query: HyperbolicQuery, columns: Tensor) -> Tensor:
        product = torch.addmm(query.offset.unsqueeze(-1), query.left, columns.T)
        return self._score(product, query.scale[:, None], query.bias[:, None], columns[:, -1])

    def score_own(self, query: HyperbolicQuery, rows: Tensor) -> Tensor:
        """Scores [B, K]; where that is less work, all columns are formed once and looked up."""
        table, places = self.columns(), rows
        if self._frozen is None and rows.numel() <= len(self.entity):
            table = self.columns(rows.flatten())
            places = torch.arange(rows.numel(), device=rows.device).view_as(rows)
        product = sampled_products(query.left, table, places) + query.offset.unsqueeze(-1)
        if self.kind == "linear":
            return product
        tail_bias = embedding(places, table[:, -1:]).squeeze(-1)
        return self._score(product, query.scale[:, None], query.bias[:, None], tail_bias)

    def score_pairs(self, query: HyperbolicQuery, owner: Tensor, rows: Tensor) -> Tensor:
        """Scores [P]."""
        columns = self.columns(rows)
        product = query.offset[owner] + (query.left[owner] * columns).sum(-1)
        return self._score(product, query.scale[owner], query.bias[owner], columns[:, -1])

    def _score(self, product: Tensor, scale: Tensor, bias: Tensor, tail_bias: Tensor) -> Tensor:
        if self.kind == "linear":
            return product
        return bias + tail_bias - scale * hyperbolic.squared_distance(product)

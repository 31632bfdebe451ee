"""What bilinear scorers share: the score is one inner product.

A bilinear scorer differs from the others in one method, ``encode``: the vector that an entity's
numbers become under a relation. The score is ``<encode(h, r), t> + b_t``, and there is nothing
hyperbolic in it; a table of points serves it as well as it serves the others
(docs/explanation/bundle-format.md, "encoder.onnx").

Shape letters: B queries, N shared candidates, K own candidates, P pairs, D dimension, E entities.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from training.ops.sampled_matmul import sampled_products
from training.scorers.base import Scorer


@dataclass(frozen=True)
class BilinearQuery:
    """Encoded queries: heads, relations, and what they become; head and encoded are [B, D]."""

    head: Tensor
    relation: Tensor
    encoded: Tensor


class BilinearScorer(Scorer):
    """Base of the bilinear scorers.

    Args:
        entities, relations: E and R; relation rows R..2R-1 are the reciprocals.
        dimension: D, real numbers per entity.
        spread: standard deviation of the initial values.
        generator: source of the initial values.

    Attributes:
        biased: whether a tail has a bias; zero otherwise, and not stored.
        relation: [2R, D], one vector per relation, for scorers that keep ``start_relations``.
    """

    biased: ClassVar[bool] = False

    def __init__(
        self,
        entities: int,
        relations: int,
        dimension: int,
        *,
        spread: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_entities, self.num_relations, self.dimension = entities, relations, dimension
        self.kind = "bilinear"
        self.entity = nn.Parameter(torch.randn(entities, dimension, generator=generator) * spread)
        self.register_buffer("head_bias", torch.zeros(entities), persistent=False)
        if self.biased:
            self.tail_bias = nn.Parameter(torch.zeros(entities))
        else:
            self.register_buffer("tail_bias", torch.zeros(entities), persistent=False)
        self.start_relations(spread, generator)

    def start_relations(self, spread: float, generator: torch.Generator) -> None:
        """Create the parameters of the relations: a vector each, drawn like those of entities."""
        shape = (2 * self.num_relations, self.dimension)
        self.relation = nn.Parameter(torch.randn(shape, generator=generator) * spread)

    @abstractmethod
    def encode(self, head: Tensor, relation: Tensor) -> Tensor:
        """[B, D] of entity vectors [B, D] and relations [B] in [0, 2R)."""

    def curvature(self) -> Tensor:
        """1: its vectors are read as spatial coordinates where nearness is asked for."""
        return torch.ones(())

    def spatial(self, rows: Tensor | None = None) -> Tensor:
        """The entities' numbers."""
        return self.entity if rows is None else self.entity[rows]

    def scale(self, relation: Tensor) -> Tensor:
        """Ones: nothing scales a product."""
        return torch.ones_like(relation, dtype=self.entity.dtype)

    def product(
        self, spatial: Tensor, relation: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The score without its bias; a candidate's excess plays no part."""
        none = torch.zeros_like(slope)
        return slope.unsqueeze(-1) * self.encode(spatial, relation), none, none

    def query(self, entity: Tensor, relation: Tensor) -> BilinearQuery:
        """The queries (entity [B], relation [B])."""
        head = embedding(entity, self.entity)
        return BilinearQuery(head, relation, self.encode(head, relation))

    def score_shared(self, query: BilinearQuery, rows: Tensor | None = None) -> Tensor:
        """[B, N], one matrix product."""
        chosen = (self.entity, self.tail_bias)
        table, bias = chosen if rows is None else (part[rows] for part in chosen)
        return torch.addmm(bias, query.encoded, table.T)

    def score_own(self, query: BilinearQuery, rows: Tensor) -> Tensor:
        """[B, K]."""
        return sampled_products(query.encoded, self.entity, rows) + self.tail_bias[rows]

    def score_pairs(self, query: BilinearQuery, owner: Tensor, rows: Tensor) -> Tensor:
        """[P]."""
        return (query.encoded[owner] * self.entity[rows]).sum(-1) + self.tail_bias[rows]

    def linear_table(self) -> Tensor:
        """Return [E, D + 1]: vectors and tail biases."""
        return torch.cat([self.entity, self.tail_bias.unsqueeze(-1)], -1)

    def linear_queries(self, query: BilinearQuery) -> Tensor:
        """Return [B, D + 1]."""
        return torch.cat([query.encoded, torch.ones_like(query.encoded[:, :1])], -1)

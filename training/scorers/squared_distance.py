"""Scorers by Euclidean distance, kept for models that were trained elsewhere.

``-|q - t|^2 = 2 <q, t> - |t|^2 - |q|^2`` is linear in the candidate's row, if the row's bias holds
``-|t|^2``. So one inner-product index serves them exactly. A model whose score is ``-|q - t|`` gets
the same ranking on another scale.

These scorers are not trained here: the bias follows from the entities where a model is imported.

Shape letters: B queries, K own candidates, N shared candidates, P pairs, D dimension.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from training.scorers.bilinear import BilinearQuery, BilinearScorer


class OffsetScorer(BilinearScorer):
    """``score = <encode(h, r), t> + b_t + offset(h, r)``; arguments as for ``BilinearScorer``."""

    biased = True

    @abstractmethod
    def offset(self, head: Tensor, relation: Tensor) -> Tensor:
        """The part of a score that no candidate changes: [B, D] and [B] -> [B]."""

    def product(
        self, spatial: Tensor, relation: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Scorer.product``; a candidate's excess plays no part."""
        encoded, offset = self.encode(spatial, relation), self.offset(spatial, relation)
        return slope.unsqueeze(-1) * encoded, torch.zeros_like(slope), slope * offset

    def score_shared(self, query: BilinearQuery, rows: Tensor | None = None) -> Tensor:
        """[B, N]."""
        offset = self.offset(query.head, query.relation)
        return super().score_shared(query, rows) + offset.unsqueeze(-1)

    def score_own(self, query: BilinearQuery, rows: Tensor) -> Tensor:
        """[B, K]."""
        offset = self.offset(query.head, query.relation)
        return super().score_own(query, rows) + offset.unsqueeze(-1)

    def score_pairs(self, query: BilinearQuery, owner: Tensor, rows: Tensor) -> Tensor:
        """[P]."""
        offset = self.offset(query.head, query.relation)
        return super().score_pairs(query, owner, rows) + offset[owner]


class SquaredDistanceScorer(OffsetScorer):
    """``score(h, r, t) = -|point(h, r) - t|^2``; ``tail_bias`` holds ``-|t|^2``."""

    def start_relations(self, spread: float, generator: torch.Generator) -> None:
        """Create the relations' vectors, and set the tail biases."""
        super().start_relations(spread, generator)
        with torch.no_grad():
            self.tail_bias.copy_(-self.entity.square().sum(-1))

    @abstractmethod
    def point(self, head: Tensor, relation: Tensor) -> Tensor:
        """Query points [B, D] of entity vectors [B, D] and relations [B]."""

    def encode(self, head: Tensor, relation: Tensor) -> Tensor:
        """Twice the query point, [B, D]."""
        return 2 * self.point(head, relation)

    def offset(self, head: Tensor, relation: Tensor) -> Tensor:
        """``-|q|^2``."""
        return -self.point(head, relation).square().sum(-1)


class TransE(SquaredDistanceScorer):
    """``q = h + r``. Source: Bordes et al. 2013."""

    def point(self, head: Tensor, relation: Tensor) -> Tensor:
        """h + r."""
        return head + self.relation[relation]


class RotatE(SquaredDistanceScorer):
    """``q = h * r`` over D / 2 complex numbers. Source: Sun et al. 2019, arXiv:1902.10197."""

    def point(self, head: Tensor, relation: Tensor) -> Tensor:
        """h * r: real parts [B, D / 2] beside imaginary ones."""
        head_real, head_imaginary = head.chunk(2, -1)
        real, imaginary = self.relation[relation].chunk(2, -1)
        turned = head_real * imaginary + head_imaginary * real
        return torch.cat([head_real * real - head_imaginary * imaginary, turned], -1)


class MuRE(OffsetScorer):
    """``score(h, r, t) = -|R h + r - t|^2 + a_h + b_t``, R diagonal.

    As an answer to (?, r, t) the head enters squared: ``-sum R^2 h^2 + 2 <R (t - r), h>``. So the
    table holds, in ``2 D + 2`` columns, the entity e, its squares e^2, the difference a - b of its
    biases and b; and ``tail_bias`` is ``b - |e|^2``. Queries of both directions are then linear.

    Args:
        entities, relations: E and R.
        dimension: 2 D + 2.
        spread: standard deviation of the initial values.
        generator: source of the initial values.

    Source: Balazevic et al. 2019, arXiv:1905.09791.
    """

    def start_relations(self, spread: float, generator: torch.Generator) -> None:
        """Create diagonals and translations, and set what follows from the entities."""
        size = self.dimension // 2 - 1
        drawn = torch.randn(2, self.num_relations, size, generator=generator) * spread
        self.diagonal, self.translation = nn.Parameter(1 + drawn[0]), nn.Parameter(drawn[1])
        with torch.no_grad():
            self.entity[:, size : 2 * size] = self.entity[:, :size].square()
            self.entity[:, 2 * size :] = 0
            self.tail_bias.copy_(-self.entity[:, size : 2 * size].sum(-1))

    def encode(self, head: Tensor, relation: Tensor) -> Tensor:
        """Coefficients of a candidate's columns, [B, 2 D + 2]."""
        scale, shift = self.diagonal, self.translation
        none, one = torch.zeros_like(scale), torch.ones_like(scale[:, :1])
        factor = torch.cat([scale, scale])[relation]
        linear = factor * head[:, : scale.shape[-1]] + torch.cat([shift, -scale * shift])[relation]
        squares = torch.cat([none, 1 - scale.square()])[relation]
        side = torch.cat([0 * one, one])[relation]
        return torch.cat([2 * linear, squares, side, 0 * side], -1)

    def offset(self, head: Tensor, relation: Tensor) -> Tensor:
        """The distance without the candidate, and the query entity's bias of its side."""
        scale, shift = self.diagonal, self.translation
        factor = torch.cat([scale, torch.ones_like(scale)])[relation]
        gap = factor * head[:, : scale.shape[-1]] + torch.cat([shift, -shift])[relation]
        one = torch.ones_like(scale[:, 0])
        difference = torch.cat([one, 0 * one])[relation] * head[:, -2]
        return head[:, -1] + difference - gap.square().sum(-1)

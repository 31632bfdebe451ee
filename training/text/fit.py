"""Fit text columns: which numbers of a text tell its answers.

x_e = MLP(features of e) / |..|; the score of t for (h, r, ?) is s_r <q, x_t> / |q| with
q = x_h M_r + v_r. The loss is the cross entropy of a query's targets among the targets and heads of
the batch and random entities.

Shape letters: E entities, F features, R relations, n text columns, B queries, P targets,
C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mulde.graph.graph import Graph
from mulde.typing import Float32
from training.distillation.queries import Batch, QuerySet
from training.recipe import Text
from training.text.columns import TextColumns

_HIDDEN = 512
_NOISE = 0.1
_WARMUP = 0.1
_SCALE = 20.0
"""First scale s: products of two vectors of length 1 differ too little for a softmax."""

Report = Callable[[str], None]


class TextScorer(nn.Module):
    """Scores of texts, ``s_r <q, x_t> / |q|`` with ``q = x_h M_r + v_r`` and x of length 1.

    Args:
        features: [E, F] of all entities.
        relations: R.
        settings: of the recipe.
        generator: source of the initial values.
    """

    def __init__(
        self, features: Tensor, relations: int, settings: Text, generator: torch.Generator
    ) -> None:
        super().__init__()
        size, count = features.shape[1], settings.columns
        self.features, self.dropout = features, settings.dropout
        self.first, self.second = (
            nn.Parameter((2 * torch.rand(*shape, generator=generator) - 1) / math.sqrt(shape[0]))
            for shape in ((size, _HIDDEN), (_HIDDEN, count))
        )
        self.bias = nn.Parameter(torch.zeros(_HIDDEN))
        noise = torch.randn(2 * relations, count, count, generator=generator) * _NOISE
        self.matrix = nn.Parameter(torch.eye(count) + noise)
        self.shift = nn.Parameter(torch.zeros(2 * relations, count))
        self.log_scale = nn.Parameter(torch.full((2 * relations,), math.log(_SCALE)))

    def columns(self, rows: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return x [C, n] of entity rows [C]; a generator drops hidden numbers, for training."""
        hidden = nn.functional.gelu(self.features[rows] @ self.first + self.bias)
        if generator is not None:
            kept = torch.rand(hidden.shape, generator=generator) >= self.dropout
            hidden = hidden * kept / (1 - self.dropout)
        return normalize(hidden @ self.second, dim=-1)

    def loss(self, batch: Batch, others: Tensor, generator: torch.Generator) -> Tensor:
        """Return the cross entropy of a batch's targets, mean over the queries' roots of counts.

        Args:
            batch: B queries with their P targets.
            others: rows of random entities.
            generator: of the dropout.
        """
        rows = torch.unique(torch.cat([batch.target, batch.entity, others]))
        x = self.columns(rows, generator)
        heads = x[torch.searchsorted(rows, batch.entity)]
        mapped = torch.bmm(heads.unsqueeze(1), self.matrix[batch.relation]).squeeze(1)
        queries = normalize(mapped + self.shift[batch.relation], dim=-1)
        scores = self.log_scale[batch.relation].exp().unsqueeze(-1) * (queries @ x.T)
        own = scores[batch.owner, torch.searchsorted(rows, batch.target)]
        weight = batch.count.sqrt()
        per_target = (weight / batch.count)[batch.owner]
        total = (scores.logsumexp(-1) * weight).sum() - (own * per_target).sum()
        return total / weight.sum()


def fit_text(
    features: Float32, graph: Graph, settings: Text, seed: int, report: Report = lambda step: None
) -> TextColumns:
    """Return text columns fitted to train; every relation's weight is 1."""
    generator = torch.Generator().manual_seed(seed)
    scorer = TextScorer(torch.from_numpy(features), graph.num_relations, settings, generator)
    queries = QuerySet.of(graph.train, graph.num_relations, graph.num_entities)
    optimiser = torch.optim.Adam(scorer.parameters(), lr=settings.rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        settings.rate,
        total_steps=settings.epochs * math.ceil(len(queries) / settings.batch),
        pct_start=_WARMUP,
    )
    for epoch in range(1, settings.epochs + 1):
        order = torch.randperm(len(queries), generator=generator)
        for index in torch.split(order, settings.batch):
            others = torch.randint(graph.num_entities, (settings.negatives,), generator=generator)
            loss = scorer.loss(queries.batch(index), others, generator)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        report(f"fitting text columns: epoch {epoch} of {settings.epochs}")
    with torch.inference_mode():
        x = scorer.columns(torch.arange(graph.num_entities))
        parts = (x, scorer.matrix.half().float(), scorer.shift, scorer.log_scale.exp())
        return TextColumns(*(part.numpy() for part in parts))

"""What a training step minimises: hard labels alone, or hard labels and the Senior's opinion.

Shape letters: B queries, N negatives, K candidates, M teachers, Q all queries, E entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from training.distillation.losses import binary_cross_entropy, senior_loss, soft_label_loss
from training.distillation.queries import Batch, QuerySet
from training.distillation.senior import Senior, attention_temperature
from training.distributed import shared_out
from training.recipe import Distillation, Training
from training.scorers import Scorer


class HardLabels(nn.Module):
    """L_hard: one target against shared negatives.

    Holds no parameters of its own: the scorer is passed in and not registered as a child, so
    that an objective's state is only what the objective adds.
    """

    def __init__(self, scorer: Scorer, settings: Training) -> None:
        super().__init__()
        self._scorer = [scorer]
        self.settings = settings

    @property
    def scorer(self) -> Scorer:
        """The model that is trained."""
        return self._scorer[0]

    def begin_epoch(self, epoch: int, queries: QuerySet) -> None:
        """Nothing to prepare."""

    def forward(
        self, batch: Batch, epoch: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts: what this batch adds to those of the whole batch."""
        query = self.scorer.query(batch.entity, batch.relation)
        loss = self.hard(query, batch, generator) * batch.of_triples
        return loss, {"hard": loss.detach()}

    def hard(self, query: Any, batch: Batch, generator: torch.Generator) -> Tensor:
        """L_hard of encoded queries, and the scorer's own regulariser where the recipe has it."""
        settings = self.settings
        if settings.loss == "cross-entropy":
            loss = self.scorer.cross_entropy(query, batch)
        else:
            loss = self.sampled(query, batch, generator)
        if settings.penalty:
            total = self.scorer.penalty(query, batch.count, batch.target)
            loss = loss + settings.penalty * total / len(batch.target)
        return loss

    def sampled(self, query: Any, batch: Batch, generator: torch.Generator) -> Tensor:
        """BCE of the targets and of negatives that the batch shares."""
        settings = self.settings
        entities, device = self.scorer.num_entities, generator.device
        shape = (settings.negatives,)
        rows = torch.randint(entities, shape, generator=generator, device=device)
        return binary_cross_entropy(
            self.scorer.score_pairs(query, batch.owner, batch.target),
            self.scorer.score_shared(query, rows),
            batch,
            negative_weight=settings.negative_weight,
            adversarial_temperature=settings.adversarial_temperature,
        )


class Distilled(HardLabels):
    """L_hard + L_S + gamma L_soft: the Junior asks frozen teachers about its own top K.

    Source: MulDE, section 4 (Wang et al. 2021). ``ask_every`` > 0 departs from it: candidates and
    teachers' scores are found for all queries at once every few epochs and then kept, which takes
    the all-entity scoring out of the step.
    """

    def __init__(
        self,
        scorer: Scorer,
        settings: Training,
        distillation: Distillation,
        teachers: Sequence[Scorer],
    ) -> None:
        super().__init__(scorer, settings)
        self.distillation = distillation
        for teacher in teachers:
            teacher.freeze()
        self._teachers = list(teachers)
        self.senior = Senior(
            scorer.num_relations,
            len(teachers),
            scaling=distillation.scaling,
            attention=distillation.attention,
        )
        self._asked: tuple[Tensor, ...] | None = None
        self._marks: Tensor | None = None  # [B, E], all false between calls

    def begin_epoch(self, epoch: int, queries: QuerySet) -> None:
        """Ask for all queries at once where the recipe says so and it is time."""
        every = self.distillation.ask_every
        if every and (epoch % every == 0 or self._asked is None):
            found = shared_out(
                len(queries),
                queries.entity.device,
                lambda part: self.ask(queries.entity[part], queries.relation[part]),
            )
            self._asked = tuple(found)

    @torch.no_grad()
    def ask(self, entity: Tensor, relation: Tensor) -> tuple[Tensor, ...]:
        """Return candidates [B, K] int32 and the teachers' scores of them [B, M, K]."""
        count = min(self.distillation.candidates, self.scorer.num_entities)
        encoded = [teacher.query(entity, relation) for teacher in self._teachers]
        if self.distillation.choose == "junior":
            scores = self.scorer.score_shared(self.scorer.query(entity, relation))
        else:
            asked = zip(self._teachers, encoded, strict=True)
            scores = torch.stack([t.score_shared(q) for t, q in asked]).mean(0)
        rows = scores.topk(count, sorted=False).indices
        pairs = zip(self._teachers, encoded, strict=True)
        opinions = torch.stack([t.score_own(q, rows) for t, q in pairs], 1)
        return rows.to(torch.int32), opinions

    def forward(
        self, batch: Batch, epoch: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss and its parts."""
        settings = self.distillation
        if self._asked is None:
            rows, opinions = self.ask(batch.entity, batch.relation)
        else:
            rows, opinions = (kept[batch.index] for kept in self._asked)
        rows = rows.long()
        query = self.scorer.query(batch.entity, batch.relation)
        hard = self.hard(query, batch, generator) * batch.of_triples
        junior = self.scorer.score_own(query, rows)
        tau = attention_temperature(epoch, settings.attention_period)
        blended = self.senior(opinions, junior, batch.relation, tau)
        per_triple = settings.weight == "triple"
        weight = batch.count.float() if per_triple else None
        share = batch.of_triples if per_triple else batch.of_queries
        answered = self.labels(batch, rows)
        own = senior_loss(blended, answered, weight) * share
        labels = blended.detach() if settings.detach else blended
        ignored = answered > 0 if settings.soft_over == "unanswered" else None
        soft = soft_label_loss(labels, junior, settings.temperature, weight, ignored) * share
        total = hard + own + settings.gamma * soft
        return total, {"hard": hard.detach(), "senior": own.detach(), "soft": soft.detach()}

    def labels(self, batch: Batch, rows: Tensor) -> Tensor:
        """Hard labels [B, K] of candidates ``rows`` [B, K]: 1 at targets, or 1/n (``one-hot``)."""
        if self._marks is None or len(self._marks) < len(rows):
            self._marks = rows.new_zeros((len(rows), self.scorer.num_entities), dtype=torch.bool)
        marks = self._marks[: len(rows)]
        marks[batch.owner, batch.target] = True
        found = marks.gather(1, rows).float()
        marks[batch.owner, batch.target] = False
        if self.distillation.labels == "one-hot":
            found = found / batch.count[:, None]
        return found

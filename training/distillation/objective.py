"""What a training step minimises: hard labels alone, or hard labels and the Senior's soft labels.

Shape letters: B queries, N negatives, K candidates, M teachers, Q all queries, E entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.distillation.candidates import Chooser, KeptCandidates
from training.distillation.losses import binary_cross_entropy, senior_loss, soft_label_loss
from training.distillation.queries import Batch, CandidateScores, QuerySet, Step
from training.distillation.senior import Senior, attention_temperature
from training.hardware import product_type
from training.recipe import Distillation, Training
from training.scorers import Scorer


class HardLabels(nn.Module):
    """L_hard: one target against shared negatives, or against all entities.

    Args:
        scorer: the model that is trained.
        settings: how it is fitted.
    """

    def __init__(self, scorer: Scorer, settings: Training) -> None:
        super().__init__()
        self.scorer, self.settings = scorer, settings

    def begin_epoch(self, epoch: int, queries: QuerySet) -> None:
        """Nothing to prepare."""

    def step(self, batch: Batch, negatives: Tensor) -> Step:
        """Return all that one step reads."""
        return Step(batch, negatives)

    def reads(self, targets: float) -> float:
        """Return how many entity rows a step reads, at most; ``targets`` per query."""
        if self.settings.loss == "cross-entropy" and self.settings.partition == "all":
            return float("inf")
        return self.settings.batch * (1 + targets) + self.settings.negatives

    def forward(self, step: Step, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts: what this batch adds to those of the whole batch."""
        query = self.scorer.query(step.batch.entity, step.batch.relation)
        loss = self.hard(query, step) * step.batch.of_triples
        return loss, {"hard": loss.detach()}

    def hard(self, query: Any, step: Step) -> Tensor:
        """L_hard of encoded queries, and the scorer's own regulariser where the recipe has it."""
        settings, batch = self.settings, step.batch
        if settings.loss == "cross-entropy":
            drawn = None if settings.partition == "all" else step.negatives
            loss = self.scorer.cross_entropy(query, batch, self._products, drawn)
        else:
            loss = binary_cross_entropy(
                self.scorer.score_pairs(query, batch.owner, batch.target),
                self.scorer.score_shared(query, step.negatives),
                batch,
                negative_weight=settings.negative_weight,
                adversarial_temperature=settings.adversarial_temperature,
            )
        if settings.penalty:
            total = self.scorer.penalty(query, batch.count, batch.target)
            loss = loss + settings.penalty * total / len(batch.target)
        return loss

    @property
    def _products(self) -> torch.dtype | None:
        """The type of the factors of the cross entropy's products, on the model's device."""
        return product_type(self.settings.precision, self.scorer.tail_bias.device)

    def own_state(self) -> dict[str, Tensor]:
        """Return the state that is not the scorer's."""
        state = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("scorer.")}


class Distilled(HardLabels):
    """L_hard + L_S + gamma L_soft over K candidates that frozen teachers score too.

    Source: MulDE, section 4 (Wang et al. 2021). ``ask_every`` > 0 departs from it: candidates and
    teachers' scores are found for all queries every few epochs and then kept, which takes the
    scoring of all entities out of the step.

    Args:
        scorer, settings: as for ``HardLabels``.
        distillation: how the soft labels are made.
        teachers: M models; they are frozen.
        folder: where kept candidates may lie if they are large.
        taught: [Q], the queries that teachers answer; None for all. The others have hard labels
            alone.
    """

    def __init__(
        self,
        scorer: Scorer,
        settings: Training,
        distillation: Distillation,
        teachers: Sequence[Scorer],
        folder: Path,
        taught: Tensor | None = None,
    ) -> None:
        super().__init__(scorer, settings)
        self.distillation, self._folder, self._taught = distillation, folder, taught
        for teacher in teachers:
            teacher.freeze()
        self._teachers = list(teachers)
        self.senior = Senior(
            scorer.num_relations,
            len(teachers),
            scaling=distillation.scaling,
            attention=distillation.attention,
        )
        self._kept: KeptCandidates | None = None

    def begin_epoch(self, epoch: int, queries: QuerySet) -> None:
        """Choose the candidates of all queries where the recipe says so and it is time."""
        every = self.distillation.ask_every
        if every and (epoch % every == 0 or self._kept is None):
            self._kept = None  # before the next ones are made: only one set fits into memory
            count = min(self.distillation.candidates, self.scorer.num_entities)
            teachers = len(self._teachers)
            self._kept = KeptCandidates(queries, self.chooser(), count, teachers, self._folder)

    def chooser(self) -> Chooser:
        """Return what chooses candidates with the Junior as it is now."""
        return Chooser(self.scorer, self._teachers, self.distillation)

    def step(self, batch: Batch, negatives: Tensor) -> Step:
        """Return all that one step reads, candidates included."""
        chosen = self.chooser()(batch) if self._kept is None else self._kept.of(batch.index)
        return Step(batch, negatives, chosen)

    def reads(self, targets: float) -> float:
        """Return how many entity rows a step reads, at most."""
        if not self.distillation.ask_every:
            return float("inf")
        return super().reads(targets) + self.settings.batch * self.distillation.candidates

    def forward(self, step: Step, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss and its parts."""
        settings, batch, chosen = self.distillation, step.batch, step.candidates
        assert chosen is not None, "step() chooses them"
        query = self.scorer.query(batch.entity, batch.relation)
        hard = self.hard(query, step) * batch.of_triples
        junior = self.scorer.score_own(query, chosen.rows)
        tau = attention_temperature(epoch, settings.attention_period)
        blended = self.senior(chosen.opinions, junior, batch.relation, tau)
        per_triple = settings.weight == "triple"
        weight = batch.count.float() if per_triple else None
        share = batch.of_triples if per_triple else batch.of_queries
        own = senior_loss(blended, self.labels(chosen, batch.count), weight) * share
        labels = blended.detach() if settings.detach else blended
        ignored = self._ignored(chosen, batch)
        soft = soft_label_loss(labels, junior, settings.temperature, weight, ignored) * share
        total = hard + own + settings.gamma * soft
        return total, {"hard": hard.detach(), "senior": own.detach(), "soft": soft.detach()}

    def _ignored(self, chosen: CandidateScores, batch: Batch) -> Tensor | None:
        """[B, K], candidates that the soft-label loss leaves out: all of a query not taught."""
        ignored = chosen.answered if self.distillation.soft_over == "unanswered" else None
        if self._taught is None:
            return ignored
        untaught = ~self._taught[batch.index].unsqueeze(1)
        return untaught.expand_as(chosen.answered) if ignored is None else ignored | untaught

    def labels(self, chosen: CandidateScores, count: Tensor) -> Tensor:
        """Return hard labels [B, K] of candidates: 1 at targets, or 1/n (``one-hot``)."""
        answered = chosen.answered.float()
        return answered / count[:, None] if self.distillation.labels == "one-hot" else answered

"""What a training of the race reached, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.auto.candidates import Candidate, Size

_SCORE_S = 1.5e-8
"""Seconds of a score in a cross entropy, on one core: 2.4e-8 on WN18RR on a busy machine."""


@dataclass(frozen=True)
class Result:
    """What a candidate reached in its best rung.

    Attributes:
        candidate: with its full schedule.
        epochs: of that rung.
        rung: 0, 1 or 2.
        mrr: best valid MRR; 0 if it was never validated.
        seconds: of the whole training.
        epoch_s: seconds an epoch, without validation.
        overhead_s: seconds of preparing and validating.
        checkpoint: of the best epoch; None if there is none.
        longest: the most epochs that it was trained for in any rung.
    """

    candidate: Candidate
    epochs: int
    rung: int
    mrr: float
    seconds: float
    epoch_s: float
    overhead_s: float
    checkpoint: Path | None
    longest: int = 0

    @property
    def whole_s(self) -> float:
        """Seconds of its whole schedule."""
        return self.cost_s(self.candidate.training.epochs)

    def cost_s(self, epochs: int, factor: float = 1.0) -> float:
        """Seconds of a training of so many epochs, for a model that takes ``factor`` as long."""
        return factor * (self.overhead_s + self.epoch_s * epochs)

    def affordable(self, seconds: float, factor: float = 1.0) -> int:
        """Epochs that fit into a time; below 0 where not even validation does."""
        return int((seconds / factor - self.overhead_s) / max(self.epoch_s, 1e-6))


def expected_s(one: Candidate, rungs: Sequence[float], size: Size) -> float:
    """Seconds of a first rung and its timing as far as they are known before any step.

    The timing itself takes an epoch. Where a loss scores all entities, that may be most of the
    race: 100 s of 396 s on WN18RR, for each family, which the first rung then had no time for.

    Args:
        one: the candidate.
        rungs: share of its epochs in each rung.
        size: of the graph.
    """
    training = one.training
    if training.loss != "cross-entropy":
        return 0.0
    scored = size.entities
    if training.partition == "negatives":
        scored = min(scored, training.negatives + training.batch)
    scores = size.queries * scored
    return (1 + math.ceil(training.epochs * rungs[0])) * _SCORE_S * scores

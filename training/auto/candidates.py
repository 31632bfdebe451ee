"""Candidate models of the race: scorer families with a few settings each.

The settings are those of the committed recipes, with the numbers that depend on a graph's size
computed from it. So a small graph gets small batches and more epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from mulde.graph.graph import Graph
from training.recipe import ScorerSettings, Training

_LARGEST_CROSS_ENTROPY = 1 << 17
"""Entities above which a loss over all entities is not tried: a step scores all of them."""

_SAMPLE, _SAMPLED_FROM = 2_048, 8_192
"""Entities that stand for all others in a cross entropy, and above how many they do: RESCAL-32 on
FB15k-237's facts lost .006 of MRR and took a quarter of the time (benchmarks/update.md)."""

_SPARSE = 4
"""Facts for each entity below which RotH is tried first: it was best on WordNet's graphs, which
have 2; ComplEx and RESCAL on the others, which have 16 and more."""

_SLOW_START = 2_000
"""Entities of a sparse graph above which few candidates race, for longer: RotH begins slowly."""

_SLOW_ENTRANTS = 4
_BILINEAR_FIRST = 4
"""ComplEx and RESCAL candidates before RotH where facts are many."""


VALIDATIONS = 10
"""Of a training: a model of a small graph may be best early, and its best epoch is kept."""


@dataclass(frozen=True)
class Candidate:
    """One model and its training, as the race compares them.

    Attributes:
        model: scorer, dimension, kind of score, start.
        training: loss, penalty, optimiser, schedule.
        setting: the varied setting in words, for the report.
    """

    model: ScorerSettings
    training: Training
    setting: str

    @property
    def name(self) -> str:
        """Family and varied setting."""
        return f"{self.model.scorer} {self.setting}"

    def lasting(self, epochs: int) -> Candidate:
        """Return the same candidate with another number of epochs, validated about ten times."""
        return replace(self, training=lasting(self.training, epochs))


def lasting(training: Training, epochs: int) -> Training:
    """Return the same training with another number of epochs, validated about ten times.

    The number of epochs is rounded up to a multiple of the interval, so that the last is validated.
    """
    every = max(1, round(epochs / VALIDATIONS))
    return replace(training, epochs=math.ceil(epochs / every) * every, validate_every=every)


@dataclass(frozen=True)
class Size:
    """What settings depend on.

    Attributes:
        entities: E.
        queries: distinct training queries (entity, relation).
        relations: R.
        facts: of train; 0 where not known.
    """

    entities: int
    queries: int
    relations: int = 1
    facts: int = 0

    @classmethod
    def of(cls, graph: Graph, queries: int) -> Size:
        """Return the size of a graph with that many distinct queries."""
        return cls(graph.num_entities, queries, graph.num_relations, len(graph.train))

    @property
    def sparse(self) -> bool:
        """Whether entities have few facts, as in WordNet, where RotH is best."""
        return 0 < self.facts < _SPARSE * self.entities

    @property
    def slow(self) -> bool:
        """Whether short trainings say nothing of how families compare."""
        return self.sparse and self.entities > _SLOW_START

    @property
    def cross_entropy(self) -> dict[str, Any]:
        """Settings of the loss: over all entities, or over a sample where they are many."""
        if self.entities <= _SAMPLED_FROM:
            return {"loss": "cross-entropy"}
        sampled = {"partition": "negatives", "negatives": _SAMPLE}
        return {"loss": "cross-entropy", "precision": "bf16", **sampled}

    def batch(self, largest: int) -> int:
        """Queries a step: at most ``largest``, and at least about 40 steps an epoch."""
        return max(32, min(largest, self.queries // 40))

    def epochs(self, steps: int, batch: int, least: int, most: int) -> int:
        """Epochs that make about ``steps`` steps, between ``least`` and ``most``."""
        return min(most, max(least, math.ceil(steps * batch / max(1, self.queries))))


def candidates(size: Size, dimension: int) -> list[Candidate]:
    """Return the models that the race starts with, the first setting of each family first.

    A time budget may leave the last ones out, so the family that is best on such graphs comes
    first.

    Args:
        size: of the graph.
        dimension: D of the Junior.
    """
    hyperbolic, bilinear = _roth(size, dimension), list[Iterator[Candidate]]()
    if size.entities <= _LARGEST_CROSS_ENTROPY:
        bilinear = [_complex(size, dimension), _rescal(size, dimension)]
    families = [hyperbolic, *bilinear] if size.sparse else bilinear
    found = [one for turn in zip_longest(*families) for one in turn if one is not None]
    if not size.sparse:
        found[_BILINEAR_FIRST:_BILINEAR_FIRST] = hyperbolic
    return found[:_SLOW_ENTRANTS] if size.slow else found


def neighbours(one: Candidate) -> list[Candidate]:
    """Return the candidates that differ from one in a single setting: one step up or down."""
    training = one.training
    weight = training.negative_weight
    changed = list[tuple[str, Training]]()
    for factor in (0.6, 1.6):
        if training.penalty:
            penalty = float(f"{factor * training.penalty:.2g}")
            changed.append((f"penalty {penalty:g}", replace(training, penalty=penalty)))
        if weight is not None:
            moved = float(f"{factor * weight:.2g}")
            changed.append((f"negative_weight {moved:g}", replace(training, negative_weight=moved)))
    changed += [
        (f"{one.setting}, half the epochs", lasting(training, math.ceil(training.epochs / 2))),
        (f"{one.setting}, half the rate", replace(training, rate=training.rate / 2)),
        (f"{one.setting}, twice the rate", replace(training, rate=2 * training.rate)),
        (f"{one.setting}, twice the epochs", lasting(training, 2 * training.epochs)),
    ]
    return [Candidate(one.model, other, setting) for setting, other in changed]


def _roth(size: Size, dimension: int) -> Iterator[Candidate]:
    """RotH with a linear score and binary cross entropy over shared negatives."""
    batch = size.batch(300)
    training = Training(
        epochs=size.epochs(5000, batch, 50, 200),
        batch=batch,
        negatives=min(500, size.entities),
        rate=4e-3 if size.entities < 10_000 else 3e-3,
        schedule="cosine",
        warmup=0.05,
    )
    for weight in (100.0, 30.0, 10.0):
        model = ScorerSettings("RotH", dimension, "linear", spread=0.05)
        yield Candidate(
            model, replace(training, negative_weight=weight), f"negative_weight {weight:g}"
        )


def _complex(size: Size, dimension: int) -> Iterator[Candidate]:
    """ComplEx with cross entropy and the N3 penalty."""
    batch = size.batch(250)
    training = Training(
        epochs=size.epochs(2000, batch, 20, 80),
        batch=batch,
        optimiser="adagrad",
        rate=0.1,
        **size.cross_entropy,
    )
    for penalty in (0.02, 0.05, 0.005, 0.15, 0.002):
        model = ScorerSettings("ComplEx", dimension, "bilinear", spread=0.01)
        yield Candidate(model, replace(training, penalty=penalty), f"penalty {penalty:g}")


def _rescal(size: Size, dimension: int) -> Iterator[Candidate]:
    """RESCAL with cross entropy and the DURA penalty."""
    batch = size.batch(500)
    training = Training(
        epochs=size.epochs(5000, batch, 20, 80),
        batch=batch,
        rate=3e-3,
        schedule="cosine",
        warmup=0.05,
        **size.cross_entropy,
    )
    for penalty in (0.02, 0.05, 0.005, 0.15):
        model = ScorerSettings("RESCAL", dimension, "bilinear", spread=0.1)
        yield Candidate(model, replace(training, penalty=penalty), f"penalty {penalty:g}")

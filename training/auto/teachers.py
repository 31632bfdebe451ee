"""Which models teach: larger ones of the winning family, as large as there is time for.

Large bilinear models learn in far fewer steps than small ones, and overfit sooner: they train for
fewer epochs in larger batches, with a penalty of their own that short trials choose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from training.auto.candidates import Candidate, lasting
from training.auto.memory import Memory
from training.auto.result import Result
from training.recipe import ScorerSettings, Teacher, Training


class Larger(NamedTuple):
    """A teacher made of a candidate.

    Attributes:
        scorer: its family.
        dimension: D.
        penalty: against the winner's.
        cost: seconds of its training against those of the candidate's, measured on graphs of some
            thousand entities; of less, steps take less.
        seed: of its initial values.
    """

    scorer: str
    dimension: int
    penalty: float = 1.0
    cost: float = 1.8
    seed: int = 0


SETS = {
    "ComplEx": (
        (Larger("ComplEx", 512, 1.0, 2.8), Larger("ComplEx", 256, 0.5, 1.5)),
        (Larger("ComplEx", 256, 0.5, 1.5), Larger("ComplEx", 256, 0.5, 1.5, 1)),
        (Larger("ComplEx", 128, 0.5, 0.9), Larger("ComplEx", 128, 0.5, 0.9, 1)),
    ),
    "RESCAL": ((Larger("RESCAL", 64, 1.0, 3.0), Larger("RESCAL", 64, 1.0, 3.0, 1)),),
    "RotH": ((Larger("RotH", 64), Larger("RefH", 64, seed=1)),),
}
"""Sets of teachers of each family, the best first."""

_FACTORS = (0.4, 1.0, 2.0, 5.0)
"""Of the set's penalties, tried by its last teacher."""

_TRIAL = 1 / 4
"""Share of a teacher's epochs in such a trial."""

_TRIALS = 0.12
"""Most of the time left that the trials take."""

_SECOND_FAMILY = 0.95
"""Least share of the winner's valid MRR with which a second family teaches."""

_COSTLY = 2_000
"""Entities from which on a step's time is that of its products."""

_SHORTEST = 0.5
"""Least share of a schedule with which two teachers are better than one."""


@dataclass(frozen=True)
class Taught:
    """One teacher: what it is made of, and its training before its penalty is chosen.

    Attributes:
        result: of the race's best candidate of its family.
        larger: its size.
        training: its schedule, with the candidate's penalty.
        entities: E of the graph.
    """

    result: Result
    larger: Larger
    training: Training
    entities: int

    @property
    def cost_s(self) -> float:
        """Seconds of its training."""
        full = schedule(self.result.candidate)
        share = self.training.epochs / full.epochs
        size = 0.3 + 0.7 * min(1.0, self.entities / _COSTLY)
        epochs = self.result.candidate.training.epochs
        return share * self.result.cost_s(epochs, size * self.larger.cost)

    def shortened(self, share: float) -> Taught:
        """Return the same teacher with a share of its epochs."""
        epochs = max(1, math.floor(share * self.training.epochs))
        return replace(self, training=lasting(self.training, epochs))

    def teacher(self, factor: float = 1.0) -> Teacher:
        """Return it as a recipe has it, with a factor of the penalty."""
        model, larger = self.result.candidate.model, self.larger
        penalty = float(f"{factor * larger.penalty * self.training.penalty:.2g}")
        return Teacher(
            larger.scorer,  # type: ignore[arg-type]
            max(model.dimension, larger.dimension),
            "distance" if model.score == "linear" else model.score,
            spread=model.spread,
            rotations=model.rotations,
            seed=larger.seed,
            training=replace(self.training, penalty=penalty),
        )


def schedule(candidate: Candidate) -> Training:
    """Return a teacher's training: of ComplEx two fifths of the epochs in batches twice as large.

    On CoDEx-S ComplEx-512 has .465 on valid after 25 such epochs, ComplEx-128 .422 after 66 whole
    ones in the same time.
    """
    training = candidate.training
    if candidate.model.scorer != "ComplEx":
        return training
    return lasting(replace(training, batch=2 * training.batch), math.ceil(0.4 * training.epochs))


def choose_teachers(results: Sequence[Result], seconds: float, memory: Memory) -> list[Taught]:
    """Return the best set of teachers that there is time for; at least one teacher.

    Where a second family is about as good, one of its teachers joins.

    Args:
        results: of the race, the best first.
        seconds: for all teachers together.
        memory: that each of them must fit into.
    """
    entities = memory.size.entities
    first, *rest = _best_of_families(results)
    found: list[Taught] = []
    for larger in SETS[first.candidate.model.scorer]:
        found = [one for one in _made(first, larger, entities) if _fits(one, memory)] or found
        if found and _cost_s(found) <= seconds:
            return found + _joining(first, rest, seconds - _cost_s(found), memory)
    found = found or _made(first, SETS[first.candidate.model.scorer][-1][:1], entities)
    share = seconds / max(_cost_s(found), 1e-9)
    if share < _SHORTEST:
        found, share = found[:1], share * len(found)
    return [one.shortened(min(1.0, share)) for one in found]


def penalty_trials(found: Sequence[Taught], seconds: float) -> dict[float, Candidate]:
    """Return short trainings of the set's last teacher of the winner's family, by factor.

    A larger model wants another penalty than the small one of the race, more or less by graph.
    There are none without a penalty, or without the time.

    Args:
        found: the teachers.
        seconds: that are left for everything.
    """
    winner = found[0].result
    one = [each for each in found if each.result is winner][-1].shortened(_TRIAL)
    cost_s = len(_FACTORS) * one.cost_s
    if not one.training.penalty or cost_s > _TRIALS * seconds:
        return {}
    teachers = {factor: one.teacher(factor) for factor in _FACTORS}
    return {
        factor: Candidate(made.model, made.training, f"penalty times {factor:g}")
        for factor, made in teachers.items()
        if made.training is not None
    }


def _made(result: Result, larger: Sequence[Larger], entities: int) -> list[Taught]:
    return [Taught(result, one, schedule(result.candidate), entities) for one in larger]


def _fits(one: Taught, memory: Memory) -> bool:
    model: ScorerSettings = one.teacher().model
    return memory.fits(model, one.training)


def _cost_s(found: Sequence[Taught]) -> float:
    return sum(one.cost_s for one in found)


def _joining(first: Result, rest: Sequence[Result], seconds: float, memory: Memory) -> list[Taught]:
    """The largest teacher of the second family that there is time for, if that is good enough."""
    for second in rest[:1]:
        if second.mrr >= _SECOND_FAMILY * first.mrr:
            largest = [larger[0] for larger in SETS[second.candidate.model.scorer]]
            made = _made(second, largest, memory.size.entities)
            return [one for one in made if one.cost_s <= seconds and _fits(one, memory)][:1]
    return []


def _best_of_families(results: Sequence[Result]) -> list[Result]:
    """The best result of each scorer, the best first."""
    found: dict[str, Result] = {}
    for result in results:
        if result.checkpoint is not None:
            found.setdefault(result.candidate.model.scorer, result)
    return sorted(found.values(), key=lambda one: -one.mrr)

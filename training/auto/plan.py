"""From the race's results to whole recipes: teachers, Junior, distillation, sized to the time.

Settings follow the committed recipes: bilinear Juniors take soft labels over unanswered candidates,
hyperbolic ones over all candidates with a small weight. Teachers are of the winning family and
larger than the Junior; the second family joins them if it is about as good. Which of a few sets
teaches, and how soft the labels are, is left to short trials on valid (``training.auto.fit``): one
recipe for each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from mulde.storage.atomic import new_file
from training.auto.candidates import Candidate, Size, lasting
from training.auto.memory import Memory
from training.auto.race import Result
from training.recipe import Distillation, Recipe, ScorerSettings, Teacher, Training, decisive
from training.recipe_file import parse_recipe


class Larger(NamedTuple):
    """A teacher made of a candidate.

    Attributes:
        scorer: its family.
        dimension: D.
        penalty: of the penalty that fits the family's smallest teacher.
        cost: seconds of an epoch against those of a 32-d model, measured on benchmark graphs.
        seed: of its initial values.
    """

    scorer: str
    dimension: int
    penalty: float = 1.0
    cost: float = 1.8
    seed: int = 0


TEACHERS = {
    "ComplEx": (
        (Larger("ComplEx", 128, 1.0, 3.0), Larger("ComplEx", 128, 1.0, 3.0, 1)),
        (Larger("ComplEx", 512, 2.0, 9.0), Larger("ComplEx", 256, 1.0, 5.0)),
    ),
    "RESCAL": ((Larger("RESCAL", 64, 1.0, 3.0), Larger("RESCAL", 64, 1.0, 3.0, 1)),),
    "RotH": ((Larger("RotH", 64), Larger("RefH", 64, seed=1)),),
}
"""Sets of teachers of each family, the cheapest first."""

_FACTORS = (0.25, 1.0, 2.5)
_PENALTY_SHARE = 0.12
"""Most of the time left that trials of the teachers' penalty take."""

_SECOND_FAMILY = 0.95
"""Least share of the winner's valid MRR with which a second family teaches."""

_LEAST_EPOCHS = 3
_DISTILLED_COST = 1.6
_LONGER = {"bilinear": 3, "linear": 1}
"""Epochs of a Junior against those in the race, by score: soft labels delay overfitting."""

TRIAL = 1 / 3
"""Share of the Junior's epochs in a trial."""


@dataclass(frozen=True)
class Plan:
    """What the race decided; on disk, so that an interrupted fit continues with the same models.

    Attributes:
        wanted: graph digest, dimension, minutes and seed that it was made for.
        race: one row for each candidate, the best first.
        recipes: teachers, Junior and baseline; they differ in teachers and distillation.
        winner: the recipe of the race's best model alone.
        checkpoint: of that model; empty if there is none.
        mrr: its valid MRR.
    """

    wanted: dict[str, Any]
    race: list[dict[str, Any]]
    recipes: tuple[Recipe, ...]
    winner: Recipe
    checkpoint: str
    mrr: float

    def write(self, path: Path) -> None:
        """Write whole or not at all."""
        recipes = [decisive(one) for one in self.recipes]
        values = {**asdict(self), "recipes": recipes, "winner": decisive(self.winner)}
        with new_file(path) as draft:
            draft.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path, wanted: dict[str, Any]) -> Plan | None:
        """Return the plan of an earlier, interrupted fit; None if it was made for other values."""
        if not path.exists():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        current = "recipes" in values and values["wanted"] == wanted
        if not current or not _there(values["checkpoint"]):
            return None
        values["recipes"] = tuple(parse_recipe(one, str(path)) for one in values["recipes"])
        return cls(**{**values, "winner": parse_recipe(values["winner"], str(path))})


def _there(checkpoint: str) -> bool:
    return not checkpoint or Path(checkpoint).exists()


def make_plan(
    results: Sequence[Result],
    size: Size,
    seconds: float,
    wanted: dict[str, Any],
    name: str,
    data: str,
    memory: Memory,
    factor: float = 1.0,
) -> Plan:
    """Return the plan that follows from a race.

    Args:
        results: of the race, the best first.
        size: of the graph.
        seconds: left for teachers, Junior, baseline and export.
        wanted: what it is made for; its seed is that of Junior and baseline.
        name: of the recipe.
        data: the graph's name.
        memory: that models must fit into.
        factor: of the winner's penalty, for its teachers (``penalty_trials``).
    """
    best, seed = results[0], int(wanted["seed"])
    budget = Budget.of(seconds)
    winner = best.candidate
    taught_by = _teachers(results, budget.teachers, memory, factor)
    distillations = _distillations(winner, size)
    training = _junior(best, budget, len(taught_by) * len(distillations))
    common = Recipe(
        name=name,
        data=data,
        junior=winner.model,
        junior_training=training,
        seed=seed,
        notes=_notes(results),
    )
    return Plan(
        wanted,
        [_race_row(one) for one in results],
        tuple(
            replace(
                common,
                teachers=several,
                distillation=replace(one, ask_every=training.validate_every),
            )
            for several in taught_by
            for one in distillations
        ),
        fallback_recipe(best, name, data, seed),
        "" if best.checkpoint is None else str(best.checkpoint),
        best.mrr,
    )


def _race_row(one: Result) -> dict[str, Any]:
    return {
        "scorer": one.candidate.model.scorer,
        "setting": one.candidate.setting,
        "rung": one.rung + 1,
        "epochs": one.epochs,
        "valid_mrr": one.mrr,
        "seconds": round(one.seconds, 1),
    }


@dataclass(frozen=True)
class Budget:
    """Seconds for each part after the race.

    Attributes:
        teachers: all of them together.
        junior: the distilled model, trials included.
        baseline: the same model without teachers.
    """

    teachers: float
    junior: float
    baseline: float

    @classmethod
    def of(cls, seconds: float) -> Budget:
        """Divide what is left; the rest is for export and measurement."""
        return cls(0.38 * seconds, 0.36 * seconds, 0.16 * seconds)


def _junior(best: Result, budget: Budget, variants: int) -> Training:
    """The schedule of Junior and baseline: the epochs that both have time for, beside trials."""
    full = best.candidate.training
    longer = lasting(full, _LONGER[best.candidate.model.score] * full.epochs)
    trainings = 1 + (TRIAL * variants if variants > 1 else 0)
    seconds = min(budget.junior / (trainings * _DISTILLED_COST), budget.baseline)
    return _fitting(longer, best.affordable(seconds))


def _fitting(training: Training, affordable: int) -> Training:
    """A whole schedule, or as many epochs as are affordable."""
    return lasting(training, max(_LEAST_EPOCHS, min(training.epochs, affordable)))


def _teachers(
    results: Sequence[Result], seconds: float, memory: Memory, factor: float
) -> list[tuple[Teacher, ...]]:
    """The sets of teachers that there is time for; at least one set of one teacher.

    Where a second family is about as good, its first set joins the winner's first one.
    """
    first, *rest = _best_of_families(results)
    found: list[tuple[Teacher, ...]] = []
    for place, larger in enumerate(TEACHERS[first.candidate.model.scorer]):
        options = [(first, one) for one in larger]
        for second in rest[: 1 - place]:
            if second.mrr >= _SECOND_FAMILY * first.mrr:
                options += [(second, one) for one in TEACHERS[second.candidate.model.scorer][0]]
        made: list[Teacher] = []
        for result, one in options:
            cost = result.cost_s(result.candidate.training.epochs, one.cost)
            times = factor if result is first else 1.0
            teacher = _teacher(result.candidate, one, result.candidate.training, times)
            if cost <= seconds and memory.fits(teacher.model, result.candidate.training):
                made.append(teacher)
                seconds -= cost
        found += [tuple(made)] if made else []
    return found or [(_short_teacher(first, seconds, factor),)]


def penalty_trials(best: Result, seconds: float) -> dict[float, Candidate]:
    """Return short trainings of the family's smallest teacher, by their factor of the penalty.

    A larger model wants another penalty than the small one of the race, more or less by graph.
    There are none without a penalty, or without the time.
    """
    one, smallest = best.candidate, TEACHERS[best.candidate.model.scorer][0][0]
    epochs = round(TRIAL * one.training.epochs)
    cost = len(_FACTORS) * best.cost_s(epochs, smallest.cost)
    if not one.training.penalty or cost > _PENALTY_SHARE * seconds:
        return {}
    short, found = lasting(one.training, epochs), {}
    for factor in _FACTORS:
        teacher = _teacher(one, smallest, short, factor)
        assert teacher.training is not None
        found[factor] = Candidate(teacher.model, teacher.training, f"penalty times {factor:g}")
    return found


def _short_teacher(best: Result, seconds: float, factor: float) -> Teacher:
    """The smallest teacher of the best family, trained as long as there is time."""
    smallest = TEACHERS[best.candidate.model.scorer][0][0]
    training = _fitting(best.candidate.training, best.affordable(seconds, smallest.cost))
    return _teacher(best.candidate, smallest, training, factor)


def _best_of_families(results: Sequence[Result]) -> list[Result]:
    """The best result of each scorer, the best first."""
    found: dict[str, Result] = {}
    for result in results:
        if result.checkpoint is not None:
            found.setdefault(result.candidate.model.scorer, result)
    return sorted(found.values(), key=lambda one: -one.mrr)


def _teacher(candidate: Candidate, larger: Larger, training: Training, factor: float) -> Teacher:
    """A larger model of a candidate's family, by the distance where it is hyperbolic."""
    model = candidate.model
    return Teacher(
        larger.scorer,  # type: ignore[arg-type]
        max(model.dimension, larger.dimension),
        "distance" if model.score == "linear" else model.score,
        spread=model.spread,
        rotations=model.rotations,
        seed=larger.seed,
        training=replace(training, penalty=factor * larger.penalty * training.penalty),
    )


def _distillations(winner: Candidate, size: Size) -> list[Distillation]:
    """Settings by family, as in the committed recipes; a bilinear Junior tries sharper labels.

    The gradient of soft labels falls with T^2, so gamma grows as 1 / T^2.
    """
    common = Distillation(
        candidates=min(200, size.entities),
        attention_period=10.0,
        labels="multi-hot",
        weight="query",
    )
    if winner.model.score != "bilinear":
        return [replace(common, gamma=0.1)]
    common = replace(common, soft_over="unanswered", scaling=False)
    return [replace(common, temperature=t, gamma=1 / t**2) for t in (0.5, 1.0)]


def _notes(results: Sequence[Result]) -> str:
    told = ", ".join(f"{one.candidate.name} {one.mrr:.4f}" for one in results[:4])
    return f"Chosen automatically on valid. The race's best: {told}."


def fallback_recipe(result: Result, name: str, data: str, seed: int) -> Recipe:
    """Return the recipe of a race's model itself, for when there is no time to distil."""
    model: ScorerSettings = result.candidate.model
    return Recipe(
        name=name,
        data=data,
        junior=model,
        junior_training=result.candidate.lasting(result.epochs).training,
        seed=seed,
        notes="Chosen automatically on valid; the time allowed no teachers.",
    )

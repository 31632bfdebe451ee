"""From the race's results to a whole recipe: teachers, Junior, distillation, sized to the time.

Settings follow the committed recipes: bilinear Juniors take soft labels over unanswered candidates,
hyperbolic ones over all candidates with a small weight. Teachers are of the winning family, larger
than the Junior, and one is of the second family if that is not much worse: blends of families are
better than blends of seeds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mulde.storage.atomic import new_file
from training.auto.candidates import Candidate, Size, lasting
from training.auto.race import Result
from training.recipe import Distillation, Recipe, ScorerSettings, Teacher, Training, decisive
from training.recipe_file import parse_recipe

LARGE = {"ComplEx": 128, "RESCAL": 64, "RotH": 64}
"""Dimension of a family's teachers."""

_COST = {"ComplEx": 3.0, "RESCAL": 3.0, "RotH": 1.8}
"""Seconds of a teacher's epoch against those of a 32-d model, measured on the benchmark graphs."""

_SECOND_FAMILY = 0.8
"""Least share of the winner's valid MRR with which a second family teaches."""

_MOST_TEACHERS = 4
_LEAST_EPOCHS = 3
_DISTILLED_COST = 1.5


@dataclass(frozen=True)
class Plan:
    """What the race decided; on disk, so that an interrupted fit continues with the same models.

    Attributes:
        wanted: graph digest, dimension, minutes and seed that it was made for.
        race: one row for each candidate, the best first.
        recipe: teachers, Junior and baseline.
        winner: the recipe of the race's best model alone.
        checkpoint: of that model; empty if there is none.
        mrr: its valid MRR.
    """

    wanted: dict[str, Any]
    race: list[dict[str, Any]]
    recipe: Recipe
    winner: Recipe
    checkpoint: str
    mrr: float

    def write(self, path: Path) -> None:
        """Write whole or not at all."""
        values = {**asdict(self), "recipe": decisive(self.recipe), "winner": decisive(self.winner)}
        with new_file(path) as draft:
            draft.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path, wanted: dict[str, Any]) -> Plan | None:
        """Return the plan of an earlier, interrupted fit; None if it was made for other values."""
        if not path.exists():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["wanted"] != wanted or not _there(values["checkpoint"]):
            return None
        recipes = {key: parse_recipe(values[key], str(path)) for key in ("recipe", "winner")}
        return cls(**{**values, **recipes})


def _there(checkpoint: str) -> bool:
    return not checkpoint or Path(checkpoint).exists()


def make_plan(
    results: Sequence[Result],
    size: Size,
    seconds: float,
    wanted: dict[str, Any],
    name: str,
    data: str,
) -> Plan:
    """Return the plan that follows from a race; arguments as for ``plan_recipe``."""
    best, seed = results[0], int(wanted["seed"])
    return Plan(
        wanted,
        [_race_row(one) for one in results],
        plan_recipe(results, size, seconds, name, data, seed),
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
        junior: the distilled model.
        baseline: the same model without teachers.
    """

    teachers: float
    junior: float
    baseline: float

    @classmethod
    def of(cls, seconds: float) -> Budget:
        """Divide what is left; the rest is for export and measurement."""
        return cls(0.4 * seconds, 0.3 * seconds, 0.12 * seconds)


def plan_recipe(
    results: Sequence[Result], size: Size, seconds: float, name: str, data: str, seed: int
) -> Recipe:
    """Return the recipe that the time left allows.

    Args:
        results: of the race, the best first.
        size: of the graph.
        seconds: left for teachers, Junior, baseline and export.
        name: of the recipe.
        data: the graph's name.
        seed: of Junior and baseline.
    """
    budget, winner = Budget.of(seconds), results[0]
    junior = _fitting(winner, min(budget.junior / _DISTILLED_COST, budget.baseline), 1.0)
    teachers = _teachers(results, budget.teachers)
    distillation = _distillation(winner.candidate, size, junior)
    return Recipe(
        name=name,
        data=data,
        junior=winner.candidate.model,
        junior_training=junior,
        teachers=teachers,
        distillation=distillation,
        seed=seed,
        notes=_notes(results),
    )


def _fitting(result: Result, seconds: float, cost: float) -> Training:
    """The full schedule of a candidate, or as many epochs as the time allows."""
    training = result.candidate.training
    affordable = int(seconds / max(result.epoch_s * cost, 1e-6))
    return lasting(training, max(_LEAST_EPOCHS, min(training.epochs, affordable)))


def _teachers(results: Sequence[Result], seconds: float) -> tuple[Teacher, ...]:
    """Up to four teachers of the two best families, as many as the time allows; at least one."""
    best = _best_of_families(results)
    first, rest = best[0], [one for one in best[1:] if one.mrr >= _SECOND_FAMILY * best[0].mrr]
    order = [
        (first, 0),
        *((one, 0) for one in rest[:1]),
        (first, 1),
        *((one, 1) for one in rest[:1]),
    ]
    found: list[Teacher] = []
    for result, seed in order[:_MOST_TEACHERS]:
        cost = _COST[result.candidate.model.scorer]
        full = result.epoch_s * cost * result.candidate.training.epochs
        if found and full > seconds:
            continue
        training = _fitting(result, seconds, cost)
        seconds -= result.epoch_s * cost * training.epochs
        found.append(_teacher(result.candidate, training, seed))
    return tuple(found)


def _best_of_families(results: Sequence[Result]) -> list[Result]:
    """The best result of each scorer, the best first."""
    found: dict[str, Result] = {}
    for result in results:
        if result.checkpoint is not None:
            found.setdefault(result.candidate.model.scorer, result)
    return sorted(found.values(), key=lambda one: -one.mrr)


def _teacher(candidate: Candidate, training: Training, seed: int) -> Teacher:
    """A larger model of the same family; a larger one wants a larger penalty."""
    model = candidate.model
    score = "distance" if model.scorer == "RotH" else model.score
    return Teacher(
        model.scorer,
        max(model.dimension, LARGE[model.scorer]),
        score,
        spread=model.spread,
        rotations=model.rotations,
        seed=seed,
        training=replace(training, penalty=2 * training.penalty),
    )


def _distillation(winner: Candidate, size: Size, junior: Training) -> Distillation:
    """Settings by family, as in the committed recipes."""
    common = Distillation(
        candidates=min(200, size.entities),
        attention_period=10.0,
        ask_every=junior.validate_every,
        labels="multi-hot",
        weight="query",
    )
    if winner.model.score == "bilinear":
        return replace(common, gamma=1.0, soft_over="unanswered", scaling=False)
    return replace(common, gamma=0.1)


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

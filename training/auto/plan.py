"""From the race's results to whole recipes: teachers, Junior, distillation; sized to the time.

Settings follow the committed recipes: bilinear Juniors take soft labels over unanswered candidates,
hyperbolic ones over all candidates with a small weight. How soft the labels are, and how much
penalty a Junior needs that learns from them, is left to short trials on valid
(``training.auto.fit``): one recipe for each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from mulde.storage.atomic import new_file
from training.auto.candidates import VALIDATIONS, Candidate, Size, lasting
from training.auto.result import Result
from training.recipe import Distillation, Recipe, ScorerSettings, Teacher, decisive
from training.recipe_file import parse_recipe

_LEAST_EPOCHS = 3
_SURE = 0.9
"""Share of the time that is planned: epochs are rounded up to whole validations."""

_LONGER = {"bilinear": 3.0, "linear": 1.5}
"""Epochs of a Junior against those in the race, by score: soft labels delay overfitting."""

TRIAL = 1 / 4
"""Share of the Junior's epochs in a trial."""

_SOFTENED = ((0.5, 0.1), (0.5, 0.5), (1.0, 0.2), (1.0, 1.0))
"""Temperature of soft labels and factor of the winner's penalty that a bilinear Junior tries.

Soft labels regularise too, so a distilled Junior needs less penalty than the race's model."""


@dataclass(frozen=True)
class Plan:
    """What the race decided; on disk, so that an interrupted fit continues with the same models.

    Attributes:
        wanted: graph digest, dimension, minutes and seed that it was made for.
        race: one row for each candidate, the best first.
        recipes: teachers and Junior; they differ in distillation and the Junior's penalty.
        winner: the recipe of the race's best model alone.
        checkpoint: of that model; empty if there is none.
        mrr: its valid MRR.
        baseline: the recipe of the baseline; None if the race trained it in full, or if there is
            no Junior to compare it with.
        sized: whether the Junior's epochs fit the time, which is known once its teachers are
            trained.
    """

    wanted: dict[str, Any]
    race: list[dict[str, Any]]
    recipes: tuple[Recipe, ...]
    winner: Recipe
    checkpoint: str
    mrr: float
    baseline: Recipe | None
    sized: bool = False

    def write(self, path: Path) -> None:
        """Write whole or not at all."""
        recipes = [decisive(one) for one in self.recipes]
        values = {**asdict(self), "recipes": recipes, "winner": decisive(self.winner)}
        values["baseline"] = self.baseline and decisive(self.baseline)
        with new_file(path) as draft:
            draft.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path, wanted: dict[str, Any]) -> Plan | None:
        """Return the plan of an earlier, interrupted fit; None if it was made for other values."""
        if not path.exists():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        current = "sized" in values and values["wanted"] == wanted
        if not current or not _there(values["checkpoint"]):
            return None
        values["recipes"] = tuple(parse_recipe(one, str(path)) for one in values["recipes"])
        for name in ("winner", "baseline"):
            values[name] = values[name] and parse_recipe(values[name], str(path))
        return cls(**values)


def _there(checkpoint: str) -> bool:
    return not checkpoint or Path(checkpoint).exists()


def make_plan(
    results: Sequence[Result],
    teachers: Sequence[Teacher],
    size: Size,
    wanted: dict[str, Any],
    name: str,
    data: str,
) -> Plan:
    """Return the plan that follows from a race.

    Args:
        results: of the race, the best first.
        teachers: of the Junior.
        size: of the graph.
        wanted: what it is made for; its seed is that of Junior and baseline.
        name: of the recipe.
        data: the graph's name.
    """
    best, seed = results[0], int(wanted["seed"])
    winner = best.candidate
    variants = _variants(winner, size)
    full = winner.training
    training = lasting(full, round(_LONGER[winner.model.score] * full.epochs))
    common = Recipe(
        name=name,
        data=data,
        junior=winner.model,
        junior_training=training,
        teachers=tuple(teachers),
        seed=seed,
        notes=_notes(results),
    )
    trained = winner.lasting(best.longest).training.epochs >= winner.training.epochs
    alone = not teachers and "teacher" not in wanted
    return Plan(
        wanted,
        [_race_row(one) for one in results],
        tuple(
            replace(
                common,
                junior_training=replace(training, penalty=penalty),
                distillation=replace(one, ask_every=training.validate_every),
            )
            for one, penalty in variants
        ),
        fallback_recipe(best, name, data, seed),
        "" if best.checkpoint is None else str(best.checkpoint),
        best.mrr,
        None if trained or alone else replace(common, teachers=(), junior_training=winner.training),
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


class Pace(NamedTuple):
    """What a distilled training costs.

    Attributes:
        ask_s: seconds of asking the teachers about all queries once.
        epoch_s: of an epoch.
    """

    ask_s: float
    epoch_s: float

    @classmethod
    def of(cls, marks: Sequence[float]) -> Pace:
        """Return the pace of two epochs from when they began and ended; all 0 for fewer.

        The teachers are asked before the first one. The second one is validated, which a longer
        training seldom is: so the pace is a little too slow.
        """
        if len(marks) < 3:
            return cls(0.0, 0.0)
        began, first, second = marks[:3]
        return cls(max(0.0, 2 * first - began - second), second - first)

    def affordable(self, seconds: float, trials: int) -> int:
        """Epochs of a Junior that fit into a time, beside so many trials of it."""
        left = _SURE * seconds - VALIDATIONS * (1 + trials) * self.ask_s
        return int(left / ((1 + TRIAL * trials) * max(self.epoch_s, 1e-9)))


def sized(recipes: Sequence[Recipe], pace: Pace, seconds: float) -> tuple[Recipe, ...]:
    """Return the recipes with as many epochs as there is time for.

    Where the trials would leave the Junior less than half of its epochs, the last recipe, whose
    soft labels and penalty are the plainest, is the only one.

    Args:
        recipes: the variants of the Junior.
        pace: of its training.
        seconds: for Junior and trials.
    """
    most = recipes[0].junior_training.epochs
    trials = len(recipes) if len(recipes) > 1 else 0
    affordable = pace.affordable(seconds, trials)
    if trials and 2 * affordable < most:
        recipes, affordable = recipes[-1:], pace.affordable(seconds, 0)
    epochs = max(_LEAST_EPOCHS, min(most, affordable))
    return tuple(_lasting(one, epochs) for one in recipes)


def trial_of(recipe: Recipe) -> Recipe:
    """Return the recipe with the epochs of a trial."""
    return _lasting(recipe, round(TRIAL * recipe.junior_training.epochs))


def _lasting(recipe: Recipe, epochs: int) -> Recipe:
    """Teachers are asked again after each validation."""
    training = lasting(recipe.junior_training, epochs)
    asked = replace(recipe.distillation, ask_every=training.validate_every)
    return replace(recipe, junior_training=training, distillation=asked)


def _variants(winner: Candidate, size: Size) -> list[tuple[Distillation, float]]:
    """Distillation and penalty by family, as in the committed recipes.

    The gradient of soft labels falls with T^2, so gamma grows as 1 / T^2.
    """
    common = Distillation(
        candidates=min(200, size.entities),
        attention_period=10.0,
        labels="multi-hot",
        weight="query",
    )
    penalty = winner.training.penalty
    if winner.model.score != "bilinear":
        return [(replace(common, gamma=0.1), penalty)]
    common = replace(common, soft_over="unanswered", scaling=False)
    return [
        (replace(common, temperature=t, gamma=1 / t**2), float(f"{factor * penalty:.2g}"))
        for t, factor in _SOFTENED
    ]


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

"""The differences between a recipe and the paper's settings, for the card."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from training.recipe import Recipe, Training
from training.recipe_file import parse_recipe

GRAPHS = ("wn18rr", "fb15k-237")
_TEACHERS = ("RotH", "RefH", "DistH", "TransH")
_START = {"spread": 1e-3, "rotations": "normal"}
PAPER = parse_recipe(
    {
        "name": "paper",
        "data": "wn18rr",
        "self_loops_below": 0.0,
        "relation_priors": 0,
        "teachers": [{"scorer": name, "dimension": 64, **_START} for name in _TEACHERS],
        "teacher_training": {
            "epochs": 120, "batch": 1000, "negatives": 50, "rate": 1e-3, "validate_every": 5,
        },
        "junior": {"scorer": "RotH", "dimension": 32, **_START},
        "junior_training": {
            "epochs": 120, "batch": 500, "negatives": 255, "rate": 5e-4, "validate_every": 1,
        },
        "distillation": {"candidates": 500, "gamma": 0.01},
    },
    "training/export/card/paper_differences.py",
)  # fmt: skip
"""Wang et al. 2021 with WN18RR's gamma; on FB15k-237 it is .5."""

_APART = ("validate_every", "seed", "training")
_SAMPLED = ("negatives", "negative_weight", "adversarial_temperature")


@dataclass(frozen=True)
class Departure:
    """A key of the recipe, the paper's value and the recipe's, as text."""

    key: str
    paper: str
    here: str


def departures(recipe: Recipe) -> list[Departure]:
    """Return the settings that differ from the paper's, on the paper's two graphs.

    Seeds and the period of validation are left out; so are negatives where the loss takes none, and
    distillation where there are no teachers.
    """
    if recipe.data not in GRAPHS:
        return []
    paper = _settings(PAPER)
    found = [
        Departure(key, _text(paper.get(key)), _text(value))
        for key, value in _settings(recipe).items()
        if value != paper.get(key)
    ]
    return found if recipe.teachers else [one for one in found if "distil" not in one.key]


def _settings(recipe: Recipe) -> dict[str, Any]:
    parts: dict[str, dict[str, Any]] = {
        "junior": asdict(recipe.junior),
        "junior_training": _fitting(recipe.junior_training),
        "distillation": asdict(recipe.distillation),
        "teachers": {"": [f"{one.scorer}-{one.dimension}" for one in recipe.teachers]},
    }
    if recipe.teacher_training is not None and recipe.teachers:
        parts["teacher_training"] = _fitting(recipe.teacher_training)
    parts["self_loops_below"] = {"": recipe.self_loops_below}
    parts["relation_priors"] = {"": recipe.most_priors}
    return {
        f"{table}.{key}".rstrip("."): value
        for table, values in parts.items()
        for key, value in values.items()
        if key not in _APART
    }


def _fitting(training: Training) -> dict[str, Any]:
    """What decides a training: no negatives where all entities are scored."""
    unused = _SAMPLED if training.loss == "cross-entropy" else ()
    return {key: value for key, value in asdict(training).items() if key not in unused}


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)

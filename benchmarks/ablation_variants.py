"""The named variants of a recipe that benchmarks/ablations.py trains: each changes one thing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from training.recipe import Distillation, Recipe, decisive
from training.recipe_file import Changes, variant

_CANDIDATES = (0.25, 0.5, 2)
_TEMPERATURES = (0.5, 2)
_GAMMAS = (0.1, 0.3, 3)
_SWITCHES = {
    "scaling": ("no relation scaling", "with relation scaling"),
    "attention": ("no attention", "with attention"),
}
_CHOICES = {
    "choose": {"junior": "the Junior's own candidates", "teachers": "fixed candidates"},
    "soft_over": {
        "candidates": "soft labels over all candidates",
        "unanswered": "soft labels over what train does not answer",
    },
    "labels": {"one-hot": "one-hot labels within K", "multi-hot": "multi-hot labels within K"},
    "weight": {"triple": "a query counts per triple", "query": "a query counts once"},
}


@dataclass(frozen=True)
class Variant:
    """A recipe with one thing changed.

    Attributes:
        name: for folders, files and ``--only``.
        title: for the table.
        changes: as ``training.recipe_file.variant`` takes them.
        recipe: the outcome.
    """

    name: str
    title: str
    changes: Changes
    recipe: Recipe


def variants_of(recipe: Recipe, epochs: int | None = None) -> list[Variant]:
    """The recipe as it is, and each of its variants, all with the same schedule of the Junior.

    Args:
        recipe: one with teachers.
        epochs: of the Junior, instead of the recipe's; teachers keep theirs, to be shared.

    Raises:
        ConfigError: if ``epochs`` is none that a recipe allows.
    """
    base = recipe
    if epochs is not None:
        base = variant(recipe, {"junior_training.epochs": epochs}, "--epochs")
    found = [Variant("base", "the recipe", {}, base)]
    for name, title, changes in _all(base):
        changed = variant(base, changes, name)
        if changed != base:
            found.append(Variant(name, title, changes, changed))
    return found


def _all(base: Recipe) -> Iterator[tuple[str, str, Changes]]:
    yield "direct", "no distillation", {"teachers": []}
    yield from _teachers(base)
    yield from _switches(base.distillation)
    yield from _amounts(base.distillation)


def _teachers(base: Recipe) -> Iterator[tuple[str, str, Changes]]:
    """Each teacher alone, where there are more."""
    for number, teacher in enumerate(base.teachers, start=1):
        who = f"{teacher.scorer}-{teacher.dimension}"
        title = f"{who} (seed {teacher.seed}) as the one teacher"
        if len(base.teachers) > 1:
            yield f"teacher-{number}-{who}", title, {"teachers": [decisive(teacher)]}


def _switches(now: Distillation) -> Iterator[tuple[str, str, Changes]]:
    for key, (off, on) in _SWITCHES.items():
        other = not getattr(now, key)
        name = f"{key}-{'on' if other else 'off'}"
        yield name, on if other else off, {f"distillation.{key}": other}
    for key, titles in _CHOICES.items():
        for value, title in titles.items():
            yield f"{key}-{value}", title, {f"distillation.{key}": value}


def _amounts(now: Distillation) -> Iterator[tuple[str, str, Changes]]:
    for factor in _CANDIDATES:
        count = max(1, round(now.candidates * factor))
        yield f"candidates-{count}", f"K {count}", {"distillation.candidates": count}
    for factor in _TEMPERATURES:
        value = _rounded(now.temperature * factor)
        yield f"temperature-{value:g}", f"T {value:g}", {"distillation.temperature": value}
    for factor in _GAMMAS:
        value = _rounded(now.gamma * factor)
        yield f"gamma-{value:g}", f"gamma {value:g}", {"distillation.gamma": value}


def _rounded(value: float) -> float:
    """Without the last digits of a product: .3, not .30000000000000004."""
    return float(f"{value:.6g}")

"""A card lists every setting in which a recipe is not the paper's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from training.export.card.paper_differences import PAPER, departures
from training.recipe_file import read_recipe, variant

RECIPES = Path(__file__).parents[2] / "models" / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("paper/*.toml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_paper_depart_in_gamma_alone(path: Path) -> None:
    recipe = read_recipe(path)
    gamma = [] if recipe.distillation.gamma == 0.01 else ["distillation.gamma"]
    assert [one.key for one in departures(recipe)] == gamma


@pytest.mark.parametrize(
    ("key", "value", "paper", "here"),
    [
        ("junior.score", "linear", "distance", "linear"),
        ("junior_training.negative_weight", 30.0, "none", "30.0"),
        ("distillation.ask_every", 1, "0", "1"),
        ("distillation.scaling", False, "True", "False"),
        ("teacher_training.rate", 0.01, "0.001", "0.01"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(
    key: str, value: object, paper: str, here: str
) -> None:
    (found,) = departures(variant(PAPER, {key: value}, "here"))
    assert (found.key, found.paper, found.here) == (key, paper, here)


def test_other_teachers_are_named_and_seeds_are_no_departure() -> None:
    fewer = replace(PAPER, teachers=PAPER.teachers[:2], seed=7)
    (found,) = departures(fewer)
    assert (found.paper, found.here) == (
        "RotH-64, RefH-64, DistH-64, TransH-64",
        "RotH-64, RefH-64",
    )


def test_a_loss_without_negatives_says_nothing_of_them() -> None:
    changes = {"junior_training.loss": "cross-entropy", "junior_training.negatives": 9}
    assert [one.key for one in departures(variant(PAPER, changes, "here"))] == [
        "junior_training.loss"
    ]


def test_a_direct_training_says_nothing_of_distilling() -> None:
    changes = {"teachers": [], "distillation.gamma": 0.7}
    assert [one.key for one in departures(variant(PAPER, changes, "here"))] == ["teachers"]


def test_a_recipe_for_another_graph_is_not_compared_with_the_paper() -> None:
    assert departures(variant(PAPER, {"data": "mine", "distillation.gamma": 0.7}, "here")) == []

"""Variants of recipes: what changes, what is refused, and that a written one reads back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mulde.errors import ConfigError
from tests.support.runs import recipe_of
from training.recipe_file import read_recipe, resized, to_toml, variant

RECIPES = sorted((Path(__file__).parents[2] / "models" / "recipes").glob("*/*.toml"))


def test_a_change_changes_one_value() -> None:
    recipe = recipe_of()
    changed = variant(recipe, {"distillation.gamma": 2.0}, "here")
    assert changed.distillation.gamma == 2.0
    assert variant(changed, {"distillation.gamma": recipe.distillation.gamma}, "here") == recipe


def test_no_teachers_is_a_change_too() -> None:
    assert variant(recipe_of(), {"teachers": []}, "here").teachers == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"junior.dimension": 3}, "junior.dimension"),
        ({"distillation.gama": 1.0}, "distillation.gama"),
        ({"nothing.at.all": 1}, "nothing"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
    ],
)
def test_what_is_no_recipe_is_refused_by_its_key(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"here: {named}"):
        variant(recipe_of(), changes, "here")


def test_another_dimension_has_another_name() -> None:
    recipe = variant(recipe_of(), {"name": "tiny-4"}, "here")
    assert resized(recipe, 8, None, "here").name == "tiny-8"
    assert resized(recipe, 8, None, "here").junior.dimension == 8
    assert resized(recipe_of(), 8, None, "here").name == "tiny-8"


def test_teachers_stay_as_they_are_whatever_the_juniors_dimension() -> None:
    assert resized(recipe_of(), 8, 5, "here").teachers == recipe_of().teachers


def test_the_recipes_own_dimension_and_no_seed_change_nothing() -> None:
    recipe = recipe_of()
    assert resized(recipe, recipe.junior.dimension, None, "here") == recipe


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_that_is_shipped_reads_back_as_it_was_written(
    path: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(path)
    written = tmp_path / "written.toml"
    written.write_text(to_toml(recipe, 'derived from "x"'), encoding="utf-8")
    assert read_recipe(written) == recipe
    assert read_recipe(written).digest == recipe.digest


def test_teachers_with_a_training_of_their_own_read_back(tmp_path: Path) -> None:
    own = {"scorer": "RotH", "dimension": 8, "training": {"epochs": 2, "rate": 1e-5}}
    recipe = variant(recipe_of(), {"teachers": [own]}, "here")
    written = tmp_path / "written.toml"
    written.write_text(to_toml(recipe), encoding="utf-8")
    assert read_recipe(written) == recipe

"""A recipe says everything that decides a model, and nothing it says is ignored or guessed."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from mulde.errors import ConfigError
from tests.support.tiny import tiny_recipe
from training.recipe import Distillation, Recipe, ScorerSettings, Training, decisive, digest_of
from training.recipe_file import parse_recipe, read_recipe

COMMITTED = sorted((Path(__file__).parents[2] / "models" / "recipes").rglob("*.toml"))


def parse(**changes: Any) -> Recipe:
    return parse_recipe(tiny_recipe(**changes), "tiny.toml")


def without(table: str, key: str) -> dict[str, Any]:
    """The tiny recipe without one key of one table."""
    values = tiny_recipe()
    values[table] = {name: value for name, value in values[table].items() if name != key}
    return values


def test_toml_becomes_typed_values(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        'name = "a"\ndata = "b"\n[junior]\nscorer = "RotH"\ndimension = 4\n'
        "[junior_training]\nepochs = 3\nrate = 1\n",
        encoding="utf-8",
    )
    recipe = read_recipe(path)
    assert recipe == Recipe("a", "b", ScorerSettings("RotH", 4), Training(3, rate=1.0))
    assert isinstance(recipe.junior_training.rate, float)
    assert (recipe.teachers, recipe.distillation) == ((), Distillation())


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_recipe_is_read(path: Path) -> None:
    """Named after its file; those of the paper say so, since runs of both lie side by side."""
    suffix = "-paper" if path.parent.name == "paper" else ""
    assert read_recipe(path).name == path.stem + suffix


def test_there_are_committed_recipes() -> None:
    assert COMMITTED


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"junior": 5}, "junior: expected a table, found 5"),
        ({"teachers": 5}, "teachers: expected an array, found 5"),
        ({"teachers": [5]}, "teachers.0: expected a table, found 5"),
        ({"seed": True}, "seed: expected a valid integer, found True"),
        ({"seed": "1"}, "seed: expected a valid integer, found '1'"),
        ({"name": 5}, "name: expected a valid string, found 5"),
        ({"notes": 5}, "notes: expected a valid string, found 5"),
        ({"junior__dimension": "4"}, "junior.dimension: expected a valid integer, found '4'"),
        ({"junior__dimension": 4.5}, "junior.dimension: expected a valid integer, found 4.5"),
        ({"junior_training__rate": "x"}, "junior_training.rate: expected a valid number"),
        ({"junior_training__rate": True}, "junior_training.rate: expected a valid number"),
        ({"distillation__scaling": 1}, "distillation.scaling: expected a valid boolean, found 1"),
        ({"distillation__detach": "yes"}, "distillation.detach: expected a valid boolean"),
    ],
)
def test_a_wrong_type_names_its_key(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**changes)
    assert f"tiny.toml: {problem}" in str(caught.value) or problem in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"junior__dimension": 3}, "junior.dimension: expected a multiple of 2, found 3"),
        ({"junior__dimension": 0}, "junior.dimension: expected greater than or equal to 2"),
        ({"junior__spread": 0}, "junior.spread: expected greater than 0, found 0"),
        ({"junior__scorer": "TransD"}, "junior.scorer: expected 'RotH', 'RefH',"),
        ({"junior__score": "bilinear"}, 'junior: expected score "distance" or "linear" with RotH'),
        ({"seed": -1}, "seed: expected greater than or equal to 0, found -1"),
        ({"seed": 2**40}, "seed: expected less than"),
        ({"junior_training__epochs": 0}, "junior_training.epochs: expected greater than"),
        ({"junior_training__rate": -0.1}, "junior_training.rate: expected greater than 0"),
        ({"junior_training__rate": math.inf}, "junior_training.rate: expected a finite number"),
        ({"junior_training__rate": math.nan}, "junior_training.rate: expected a finite number"),
        ({"junior_training__warmup": 1.0}, "junior_training.warmup: expected less than 1"),
        ({"junior_training__negative_weight": 0}, "junior_training.negative_weight: expected gre"),
        ({"junior_training__optimiser": "sgd"}, "optimiser: expected 'adam' or 'adagrad', found"),
        ({"distillation__gamma": -1}, "distillation.gamma: expected greater than or equal to 0"),
        ({"distillation__temperature": 0}, "distillation.temperature: expected greater than 0"),
        ({"distillation__choose": "all"}, "distillation.choose: expected 'junior' or 'teachers'"),
        ({"name": "Not A Name"}, "name: expected text that matches"),
        ({"name": "../up"}, "name: expected text that matches"),
    ],
)
def test_a_value_out_of_range_names_its_key(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**changes)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"jnuior": 1}, "jnuior"),
        ({"junior__dimensions": 1}, "junior.dimensions"),
        ({"junior_training__lr": 1}, "junior_training.lr"),
        ({"distillation__k": 1}, "distillation.k"),
        ({"teachers": [{"scorer": "RotH", "dimension": 8, "rate": 1}]}, "teachers.0.rate"),
    ],
)
def test_an_unknown_key_is_named(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"tiny.toml: {key}: expected only keys of the recipe"):
        parse(**changes)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({k: v for k, v in tiny_recipe().items() if k != "junior"}, "junior"),
        (without("junior", "dimension"), "junior.dimension"),
        (without("junior_training", "epochs"), "junior_training.epochs"),
    ],
)
def test_a_missing_key_is_named(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"tiny.toml: {key}: expected a value, since it has no"):
        parse_recipe(values, "tiny.toml")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"distillation__ask_every": 4},
            "junior_training.validate_every: expected a multiple of distillation.ask_every = 4",
        ),
        (
            {"teachers": [{"scorer": "RotH", "dimension": 8}] * 2},
            "teachers: expected teachers that differ, at least by seed, found",
        ),
        ({"teacher_training": None}, "teacher_training: expected a table, since a teacher has no"),
    ],
)
def test_what_spans_several_tables_is_checked(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**changes)
    assert f"tiny.toml: {problem}" in str(caught.value)


@pytest.mark.parametrize("raw", [b"name = ", b"\xff", None], ids=["no TOML", "no UTF-8", "missing"])
def test_an_unreadable_file_is_named(tmp_path: Path, raw: bytes | None) -> None:
    path = tmp_path / "r.toml"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"r\.toml: expected a readable TOML recipe"):
        read_recipe(path)


def test_a_folder_is_answered_with_the_command_that_takes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a recipe file .*'mulde fit'.* found 'a folder'"):
        read_recipe(tmp_path)


def test_the_digest_ignores_notes() -> None:
    assert parse(notes="tried on a Tuesday").digest == parse().digest


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"teacher_training__epochs": 7},
        {"junior__spread": 0.2},
        {"junior_training__warmup": 0.1},
        {"distillation__detach": False},
        {"teachers": [{"scorer": "RotH", "dimension": 8}]},
    ],
)
def test_the_digest_follows_everything_else(change: dict[str, Any]) -> None:
    assert parse(**change).digest != parse().digest


def test_the_digest_is_the_same_for_1_and_1_point_0() -> None:
    assert parse(distillation__gamma=1).digest == parse(distillation__gamma=1.0).digest


def test_a_recipe_survives_its_plain_form() -> None:
    recipe = parse()
    assert parse_recipe(asdict(recipe), "again") == recipe


def test_a_recipe_cannot_be_changed_but_copied_with_changes() -> None:
    recipe = parse()
    with pytest.raises(AttributeError):
        recipe.seed = 9  # type: ignore[misc]
    assert replace(recipe, seed=9).seed == 9


def test_a_teacher_may_have_its_own_training_and_seed() -> None:
    own = {"scorer": "RotH", "dimension": 8, "seed": 5, "training": {"epochs": 9}}
    recipe = parse(teachers=[own], teacher_training=None)
    (teacher,) = recipe.teachers
    assert (teacher.training, teacher.seed) == (Training(9), 5)
    assert teacher.model == ScorerSettings("RotH", 8)


def test_only_what_differs_from_the_defaults_identifies_a_model() -> None:
    assert decisive(ScorerSettings("RotH", 8)) == {"scorer": "RotH", "dimension": 8}
    assert decisive(Training(epochs=3, rate=0.5)) == {"epochs": 3, "rate": 0.5}
    assert decisive(Distillation()) == {}
    assert parse(distillation={"candidates": 500}).digest == parse(distillation={}).digest


def test_self_loop_exclusion_and_relation_priors_are_on_unless_a_recipe_says_otherwise() -> None:
    assert parse().self_loops_below == 0.01
    assert parse().most_priors == 2
    assert parse(junior__score="distance").most_priors == 0
    assert parse(relation_priors=0).most_priors == 0


def test_relation_priors_of_a_distance_score_are_refused() -> None:
    with pytest.raises(ConfigError, match="relation_priors: expected 0 with"):
        parse(junior__score="distance", relation_priors=1)


def test_the_recipes_of_the_paper_serve_the_scorer_alone() -> None:
    for path in COMMITTED:
        if path.parent.name == "paper":
            assert (read_recipe(path).self_loops_below, read_recipe(path).most_priors) == (0.0, 0)


def test_the_digest_of_a_recipe_is_that_under_the_first_names_of_two_keys() -> None:
    recipe = parse(self_loops_below=0.02, relation_priors=3)
    facts = decisive(recipe)
    for key in ("self_loops_below", "relation_priors"):
        facts.pop(key)
    assert recipe.digest == digest_of({**facts, "loops_below": 0.02, "traits": 3})


@pytest.mark.parametrize("name", ["wn18rr-32", "fb15k-237-32", "wordnet-32"])
def test_the_recipe_in_a_committed_bundle_is_that_of_its_manifest(name: str) -> None:
    folder = COMMITTED[0].parents[2] / name
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert read_recipe(folder / "recipe.toml").digest == manifest["recipe"]["sha256"]


@pytest.mark.parametrize(
    ("junior", "loss"),
    [
        ({"scorer": "ComplEx", "dimension": 8, "score": "bilinear"}, "bce"),
        ({"scorer": "RotH", "dimension": 8, "score": "distance"}, "cross-entropy"),
    ],
)
def test_a_precision_that_no_product_would_have_is_refused(
    junior: dict[str, Any], loss: str
) -> None:
    training = {"epochs": 1, "loss": loss, "precision": "bf16"}
    with pytest.raises(ConfigError, match="precision: expected fp32, but for loss"):
        parse(junior=junior, junior_training=training, relation_priors=0)

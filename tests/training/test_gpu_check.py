"""The GPU check trains every model of a recipe within its time, on any device."""

from __future__ import annotations

import pytest

from benchmarks.gpu_check import check, shortened
from mulde.graph.graph import Graph
from tests.support.runs import CPU, recipe_of


def test_a_recipe_whose_whole_schedule_fits_is_trained_in_full(graph: Graph) -> None:
    found = check(recipe_of(), graph, CPU, 600.0)
    assert found["schedule"] == 1.0
    assert [one["name"] for one in found["models"]] == [
        "teacher 1 RotH",
        "teacher 2 TransH",
        "junior",
    ]
    assert [one["epochs"] for one in found["models"]] == [6, 6, 6]
    assert all(0 < one["mrr"] <= 1 and one["queries_per_s"] > 0 for one in found["models"])


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_a_shortened_recipe_keeps_all_but_its_epochs(factor: float) -> None:
    recipe = recipe_of(distillation__ask_every=2, junior_training__epochs=8)
    short = shortened(recipe, factor)
    epochs = 1 if factor == 0 else 4
    assert (short.junior_training.epochs, short.junior_training.validate_every) == (epochs, epochs)
    assert short.junior == recipe.junior
    assert [one.model for one in short.teachers] == [one.model for one in recipe.teachers]

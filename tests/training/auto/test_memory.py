"""The memory budget: what fits, and what a training really takes."""

from __future__ import annotations

import pytest

from training.auto.candidates import Size, candidates
from training.auto.memory import Memory
from training.auto.teachers import SETS
from training.recipe import ScorerSettings, Training

ADAGRAD = Training(epochs=1, loss="cross-entropy", optimiser="adagrad")
GB = 1e9


def test_a_matrix_for_each_of_a_million_relations_does_not_fit() -> None:
    memory = Memory(Size(2_000, 1_000_000, 1_000_000), 4 * GB)
    assert not memory.fits(ScorerSettings("RESCAL", 32, "bilinear"), ADAGRAD)


@pytest.mark.parametrize("entities", [100, 20_000])
def test_all_candidates_and_teachers_of_a_small_graph_fit_into_two_gigabytes(entities: int) -> None:
    size = Size(entities, 5 * entities, 50)
    memory = Memory(size, 2 * GB)
    assert all(memory.fits(one.model, one.training) for one in candidates(size, 32))
    for sets in SETS.values():
        for one in (larger for several in sets for larger in several):
            score = "bilinear" if one.scorer in ("ComplEx", "RESCAL") else "distance"
            model = ScorerSettings(one.scorer, one.dimension, score)  # type: ignore[arg-type]
            assert memory.fits(model, ADAGRAD), one


def test_more_entities_need_more() -> None:
    model = ScorerSettings("ComplEx", 32, "bilinear")
    small, large = (Memory(Size(n, n, 10)).bytes_of(model, ADAGRAD) for n in (10**4, 10**6))
    assert large > 10 * small


def test_without_a_number_the_budget_is_what_is_free() -> None:
    assert Memory.of(Size(10, 10), None).budget > 1e8
    assert Memory.of(Size(10, 10), 2.0).budget == 2 * GB

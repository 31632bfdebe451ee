"""Teachers of a fit: as large as there is time for, with a penalty of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.auto.candidates import Size, candidates
from training.auto.memory import Memory
from training.auto.result import Result
from training.auto.teachers import Taught, choose_teachers, penalty_trials, schedule

SIZE = Size(2_000, 12_000, 40, 33_000)
AMPLE = Memory(SIZE)


def result(scorer: str, mrr: float = 0.4) -> Result:
    """The first candidate of a family, which takes 17 s to train: 1 s and .25 s an epoch."""
    one = next(one for one in candidates(SIZE, 32) if one.model.scorer == scorer)
    epochs = one.training.epochs
    return Result(one, epochs, 2, mrr, 17.0, 16.0 / epochs, 1.0, Path("best.pt"))


def dimensions(found: list[Taught]) -> list[tuple[str, int]]:
    return [(one.larger.scorer, one.larger.dimension) for one in found]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(80, [512, 256]), (55, [256, 256]), (35, [128, 128]), (5, [128])]
)
def test_teachers_are_as_large_as_there_is_time_for(seconds: float, expected: list[int]) -> None:
    found = choose_teachers([result("ComplEx")], seconds, AMPLE)
    assert [one.larger.dimension for one in found] == expected
    assert sum(one.cost_s for one in found) <= 1.1 * seconds  # the last epoch is validated


def test_a_single_teacher_remains_where_there_is_no_time_at_all() -> None:
    (one,) = choose_teachers([result("RotH")], 0.0, AMPLE)
    assert one.training.epochs == 1


def test_two_shorter_teachers_of_a_slow_family_are_better_than_one() -> None:
    found = choose_teachers([result("RotH")], 40.0, AMPLE)
    assert dimensions(found) == [("RotH", 64), ("RefH", 64)]
    assert found[0].training.epochs < result("RotH").candidate.training.epochs


def test_a_second_family_joins_only_if_it_is_about_as_good() -> None:
    first = result("ComplEx", 0.4)
    good = choose_teachers([first, result("RESCAL", 0.39)], 500.0, AMPLE)
    assert dimensions(good)[-1] == ("RESCAL", 64)
    mixed = choose_teachers([result("RESCAL", 0.4), first], 500.0, AMPLE)
    assert dimensions(mixed)[-1] == ("ComplEx", 512)
    poor = choose_teachers([first, result("RESCAL", 0.3)], 500.0, AMPLE)
    assert dimensions(poor) == [("ComplEx", 512), ("ComplEx", 256)]


def test_no_teacher_is_larger_than_the_memory() -> None:
    size = Size(100_000, 500_000, 40, 2_000_000)
    (*_, smallest) = choose_teachers([result("ComplEx")], 500.0, Memory(size))
    enough = 1.01 * Memory(size).bytes_of(smallest.teacher().model, smallest.training)
    found = choose_teachers([result("ComplEx")], 500.0, Memory(size, enough))
    assert dimensions(found) == [("ComplEx", smallest.larger.dimension)]
    assert dimensions(found) != dimensions(
        choose_teachers([result("ComplEx")], 500.0, Memory(size))
    )


def test_large_complex_models_train_shorter_in_larger_batches() -> None:
    one = result("ComplEx").candidate
    assert schedule(one).batch == 2 * one.training.batch
    assert schedule(one).epochs < one.training.epochs / 2


def test_short_trials_choose_the_penalty_of_teachers_where_there_is_time() -> None:
    found = choose_teachers([result("ComplEx")], 80.0, AMPLE)
    trials = penalty_trials(found, 500.0)
    penalties = [one.training.penalty for one in trials.values()]
    assert penalties == sorted(penalties)
    assert len(set(penalties)) == len(trials) > 2
    for factor, one in trials.items():
        assert one.model == (chosen := found[-1].teacher(factor)).model
        assert chosen.training is not None
        assert one.training.penalty == chosen.training.penalty
        assert one.training.epochs < found[-1].training.epochs
    assert penalty_trials(found, 50.0) == {}
    assert penalty_trials(choose_teachers([result("RotH")], 80.0, AMPLE), 500.0) == {}

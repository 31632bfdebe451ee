"""What follows from a race: distillations to try, the Junior's schedule, a baseline if needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.auto.candidates import Size, candidates
from training.auto.plan import Pace, Plan, make_plan, sized, trial_of
from training.auto.result import Result

SIZE = Size(2_000, 12_000, 40, 33_000)
WANTED = {"graph": "digest", "seed": 1}


def result(scorer: str, share: float = 1.0) -> Result:
    """A family's first candidate after a share of its epochs of .25 s each."""
    one = next(one for one in candidates(SIZE, 32) if one.model.scorer == scorer)
    epochs = round(share * one.training.epochs)
    return Result(one, epochs, 2, 0.4, 17.0, 0.25, 1.0, Path("best.pt"), epochs)


def planned(scorer: str, share: float = 1.0) -> Plan:
    wanted = {**WANTED, "teacher": "best.pt"}
    return make_plan([result(scorer, share)], [], SIZE, wanted, "name", "data")


def test_a_junior_that_learns_from_soft_labels_tries_less_penalty_than_the_winner() -> None:
    winner = result("ComplEx").candidate.training.penalty
    tried = [
        (one.distillation.temperature, one.junior_training.penalty)
        for one in planned("ComplEx").recipes
    ]
    assert len(set(tried)) == len(tried)
    assert (1.0, winner) in tried
    assert any(temperature < 1 and penalty < winner / 5 for temperature, penalty in tried)


@pytest.mark.parametrize("scorer", ["ComplEx", "RotH"])
@pytest.mark.parametrize("seconds", [20.0, 60.0, 150.0])
def test_junior_and_trials_fit_into_their_time(scorer: str, seconds: float) -> None:
    """Asking at each of about ten validations counts, of trials too."""
    pace = Pace(ask_s=0.3, epoch_s=0.25)
    recipes = sized(planned(scorer).recipes, pace, seconds)
    trainings = [recipes[0], *(trial_of(one) for one in recipes if len(recipes) > 1)]
    taken = sum(
        0.25 * one.junior_training.epochs
        + 0.3 * one.junior_training.epochs / one.distillation.ask_every
        for one in trainings
    )
    whole = recipes[0].junior_training.epochs == planned(scorer).recipes[0].junior_training.epochs
    assert taken < 1.2 * seconds
    assert whole or taken > 0.5 * seconds


def test_where_trials_would_leave_the_junior_less_than_half_of_its_epochs_it_has_none() -> None:
    whole = planned("ComplEx").recipes
    (alone,) = sized(whole, Pace(1.0, 0.5), 30.0)
    assert alone.distillation.temperature == 1
    assert alone.junior_training.penalty == result("ComplEx").candidate.training.penalty
    assert len(sized(whole, Pace(0.0, 0.01), 30.0)) == len(whole)


def test_the_pace_of_two_epochs_knows_asking_apart_from_learning() -> None:
    assert Pace.of([10.0, 15.0, 17.0]) == Pace(3.0, 2.0)
    assert Pace.of([10.0, 15.0]) == Pace(0.0, 0.0)


def test_a_baseline_is_trained_only_where_the_race_left_the_winner_unfinished() -> None:
    assert planned("RotH").baseline is None
    short = planned("RotH", share=0.3).baseline
    assert short is not None
    assert short.teachers == ()
    assert short.junior_training == result("RotH").candidate.training
    alone = make_plan([result("RotH", 0.3)], [], SIZE, WANTED, "name", "data")
    assert alone.baseline is None


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    for share in (0.3, 1.0):
        plan = make_plan([result("RotH", share)], [], SIZE, WANTED, "name", "data")
        plan = Plan(**{**vars(plan), "checkpoint": ""})
        plan.write(tmp_path / "plan.json")
        assert Plan.read(tmp_path / "plan.json", WANTED) == plan
    assert Plan.read(tmp_path / "plan.json", {**WANTED, "seed": 2}) is None

"""What follows from a race: distillations to try, the Junior's schedule, a baseline if needed."""

from __future__ import annotations

from pathlib import Path

from training.auto.candidates import Size, candidates
from training.auto.plan import TRIAL, Plan, make_plan
from training.auto.race import Result

SIZE = Size(2_000, 12_000, 40, 33_000)
WANTED = {"graph": "digest", "seed": 1}


def result(scorer: str, share: float = 1.0) -> Result:
    """A family's first candidate after a share of its epochs of .25 s each."""
    one = next(one for one in candidates(SIZE, 32) if one.model.scorer == scorer)
    epochs = round(share * one.training.epochs)
    return Result(one, epochs, 2, 0.4, 17.0, 0.25, 1.0, Path("best.pt"), epochs)


def planned(scorer: str, seconds: float = 200.0, share: float = 1.0) -> Plan:
    return make_plan([result(scorer, share)], [], SIZE, seconds, WANTED, "name", "data")


def test_a_junior_that_learns_from_soft_labels_tries_less_penalty_than_the_winner() -> None:
    winner = result("ComplEx").candidate.training.penalty
    tried = [
        (one.distillation.temperature, one.junior_training.penalty)
        for one in planned("ComplEx").recipes
    ]
    assert len(set(tried)) == len(tried)
    assert (1.0, winner) in tried
    assert any(temperature < 1 and penalty < winner / 5 for temperature, penalty in tried)


def test_junior_and_trials_fit_into_their_time() -> None:
    for seconds in (60.0, 200.0):
        plan = planned("ComplEx", seconds)
        epochs = plan.recipes[0].junior_training.epochs * (1 + TRIAL * len(plan.recipes))
        assert 0.5 * seconds < 1.6 * 0.25 * epochs < 1.15 * seconds


def test_a_distilled_epoch_of_a_small_graph_is_planned_to_take_longer_than_a_direct_one() -> None:
    """On 645 entities it took 3.7 times as long, on 2,034 entities 1.6 times."""
    epochs = [
        make_plan([result("ComplEx")], [], Size(entities, 12_000, 40, 33_000), 60.0, WANTED, "", "")
        .recipes[0]
        .junior_training.epochs
        for entities in (100, 645, 2_000)
    ]
    assert 1.5 * epochs[0] < 1.4 * epochs[1] < epochs[2]


def test_a_baseline_is_trained_only_where_the_race_left_the_winner_unfinished() -> None:
    assert planned("RotH").baseline is None
    short = planned("RotH", share=0.3).baseline
    assert short is not None
    assert short.teachers == ()
    assert short.junior_training == result("RotH").candidate.training


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    for share in (0.3, 1.0):
        plan = make_plan([result("RotH", share)], [], SIZE, 60.0, WANTED, "name", "data")
        plan = Plan(**{**vars(plan), "checkpoint": ""})
        plan.write(tmp_path / "plan.json")
        assert Plan.read(tmp_path / "plan.json", WANTED) == plan
    assert Plan.read(tmp_path / "plan.json", {**WANTED, "seed": 2}) is None

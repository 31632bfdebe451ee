"""Probabilities: what is counted, that the map is right where the truth is known, and its error."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mulde.bundle.known_facts import KnownFacts
from mulde.evaluation.calibration import Curve
from mulde.evaluation.metrics import RankingTask
from training.export.calibrate import Outcomes, calibrate, calibration_error, fit_curve, observe

ENTITIES, RELATIONS = 12, 1


def task(held: list[tuple[int, int, int]], known: list[tuple[int, int, int]]) -> RankingTask:
    head, relation, tail = np.array(held, dtype=np.int64).T
    return RankingTask(
        entity=np.concatenate([head, tail]),
        relation=np.concatenate([relation, relation + RELATIONS]),
        target=np.concatenate([tail, head]),
        known=KnownFacts.build(np.array(held + known), ENTITIES, RELATIONS),
    )


def ascending(entity: NDArray[np.int64], relation: NDArray[np.int64]) -> NDArray[np.float64]:
    """Entity i scores i, whatever is asked."""
    return np.tile(np.arange(ENTITIES, dtype=np.float64), (len(entity), 1))


def outcomes(scores: NDArray[np.float64], true: NDArray[np.bool_]) -> Outcomes:
    return Outcomes(scores, true, far_score=float(scores.min()) - 1, far_rate=0.0)


def test_the_ten_best_that_are_not_known_are_counted_once_per_query() -> None:
    held = [(0, 0, 11), (0, 0, 1), (0, 0, 9)]
    seen = observe(task(held, known=[(0, 0, 10)]), ascending, 0, RELATIONS)
    assert sorted(seen.scores) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]
    assert sorted(seen.scores[seen.true]) == [1, 9, 11]


def test_head_queries_are_counted_apart() -> None:
    seen = observe(task([(3, 0, 11), (4, 0, 11)], []), ascending, RELATIONS, 2 * RELATIONS)
    assert sorted(seen.scores[seen.true]) == [3, 4]


def test_targets_below_the_ten_best_make_the_far_rate() -> None:
    seen = observe(task([(0, 0, 11), (0, 0, 0)], []), ascending, 0, RELATIONS)
    assert seen.true.sum() == 1
    assert seen.far_rate == pytest.approx(1 / (ENTITIES - 10))


def test_the_map_recovers_known_probabilities() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=100_000)
    truth = 1 / (1 + np.exp(-2 * scores))
    curve = fit_curve(outcomes(scores, generator.random(len(scores)) < truth))
    at = np.array([-1.0, 0.0, 1.0])
    np.testing.assert_allclose(curve(at), 1 / (1 + np.exp(-2 * at)), atol=0.03)


def test_a_map_fitted_on_one_sample_has_a_small_error_on_another() -> None:
    generator = np.random.default_rng(1)
    scores = generator.normal(size=(2, 20_000))
    true = generator.random(scores.shape) < 1 / (1 + np.exp(-scores))
    curve = fit_curve(outcomes(scores[0], true[0]))
    assert calibration_error(curve, outcomes(scores[1], true[1])) < 0.02


def test_the_error_of_a_map_that_is_off_by_a_tenth_is_a_tenth() -> None:
    generator = np.random.default_rng(2)
    true = generator.random(10_000) < 0.5
    found = calibration_error(Curve((0.0,), (0.6,)), outcomes(np.zeros(10_000), true))
    assert found == pytest.approx(0.1, abs=0.02)


def test_probabilities_never_fall_and_fade_far_below_the_answers() -> None:
    generator = np.random.default_rng(3)
    scores = generator.normal(size=5000)
    curve = fit_curve(Outcomes(scores, generator.random(5000) < 0.3, -20.0, 0.001))
    assert (np.diff(curve.probabilities) >= 0).all()
    assert curve(np.array([-50.0]))[0] == pytest.approx(0.001)


@pytest.mark.parametrize("count", [1, 2, 19, 45])
def test_few_answers_give_a_map_too(count: int) -> None:
    curve = fit_curve(outcomes(np.arange(count, dtype=float), np.ones(count, dtype=bool)))
    assert curve(np.array([count]))[0] == 1.0


def test_both_directions_are_fitted_on_valid_and_measured_on_test() -> None:
    valid = task([(0, 0, 11), (1, 0, 10)], [])
    test = task([(2, 0, 11)], [])
    calibration = calibrate(valid, test, ascending)
    assert set(calibration.error) == {"tail", "head"}
    assert calibrate(valid, None, ascending).error == {}
    assert calibrate(valid, test, ascending).tail == calibrate(valid, None, ascending).tail

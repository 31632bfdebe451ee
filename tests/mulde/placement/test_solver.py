"""Placing an unseen entity: both of its points, and what the guard protects."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.bundle.table.entity_table import Layout
from mulde.placement.solver import FrozenModel, likely_mean, place
from mulde.typing import Float64

LAYOUT = Layout(4)
WIDE = LAYOUT.width + 1


def wide(*spatial: list[float], offset: float = 0.0) -> Float64:
    """Return wide queries of a bilinear scorer."""
    queries = np.zeros((len(spatial), WIDE))
    queries[:, LAYOUT.spatial] = spatial
    queries[:, LAYOUT.tail_bias], queries[:, -1] = 1.0, offset
    return queries


def frozen(guard: Float64, *, weight: float = 1.0, pull: float = 0.01) -> FrozenModel:
    levels = np.zeros(len(guard))
    return FrozenModel(LAYOUT, guard, levels, weight, pull, 2.0, 0.1, 0.2)


def scores(queries: Float64, row: Float64) -> Float64:
    result: Float64 = queries @ np.append(row, 1.0)
    return result


NO_GUARD = wide([0.0, 0.0, 0.0, 0.0])


def test_as_a_query_the_entity_has_the_mean_direction_of_its_facts_at_the_usual_norm() -> None:
    placed = place(frozen(NO_GUARD), wide([3, 0, 0, 0], [0, 5, 0, 0]), np.zeros(2))
    expected = [2**0.5, 2**0.5, 0, 0]
    np.testing.assert_allclose(placed.as_query[LAYOUT.spatial], expected, atol=1e-12)
    points = LAYOUT.unpack(placed.as_query[None])
    assert points.excess[0] == pytest.approx(5**0.5 - 1)
    assert (points.tail_bias[0], points.head_bias[0]) == pytest.approx((0.1, 0.2))


def test_trained_rows_count_as_much_as_the_facts_make_them_likely() -> None:
    """By hand: scores (1 + 3) / sqrt(2) against 0, the second row standing for two."""
    rows = wide([1, 0, 0, 0], [0, 0, 2, 0], offset=1.0)
    rows[:, LAYOUT.tail_bias] = [[0.25, 0.25], [0.0, 0.0]]
    queries = wide([0.75, 0, 0, 0], [2.75, 0, 0, 0], offset=0.0)
    queries[:, LAYOUT.tail_bias] = 0.5
    mean = likely_mean(frozen(NO_GUARD), queries, rows, np.array([1.0, 2.0]))
    first = 1 / (1 + 2 * np.exp(-4 / 2**0.5))
    np.testing.assert_allclose(mean, [first, 0, 2 * (1 - first), 0, first * 0.5], atol=1e-12)


def test_a_given_mean_decides_how_the_entity_is_asked_about_and_pulls_its_answer() -> None:
    query, mean = wide([1, 0, 0, 0]), np.array([0, 3.0, 0, 0, 0.7])
    placed = place(frozen(NO_GUARD, weight=0.0, pull=1e6), query, np.zeros(1), mean)
    np.testing.assert_allclose(placed.as_query[LAYOUT.spatial], [0, 2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(placed.as_answer[LAYOUT.spatial], [0, 3, 0, 0], atol=1e-4)
    assert placed.as_answer[LAYOUT.tail_bias].sum() == pytest.approx(0.7, abs=1e-4)


def test_an_answer_satisfies_the_equation_of_the_minimum() -> None:
    # By hand: with one fact and no guard, 2 pull (z - m) = (1 - sigmoid(s)) q, and likewise for b.
    placed = place(frozen(wide([0, 0, 0, 0]), weight=0.0), wide([1, 0, 0, 0]), np.array([4.0]))
    z, b = placed.as_answer[0], placed.as_answer[LAYOUT.tail_bias].sum()
    slack = 1 / (1 + np.exp(z + b - 4.0))
    assert 0.02 * (z - 2.0) == pytest.approx(slack, rel=0.02)
    assert 0.02 * (b - 0.1) == pytest.approx(slack, rel=0.02)
    assert not placed.as_answer[1:4].any()


def test_the_guard_keeps_an_entity_below_the_answers_of_old_queries() -> None:
    fact, old = wide([1, 0, 0, 0]), wide([1, 1, 0, 0])
    levels = np.array([3.0])
    without = place(frozen(old, weight=0.0), fact, levels)
    guarded = place(frozen(old, weight=10.0), fact, levels)
    assert scores(old, without.as_answer) > 2.0
    assert scores(old, guarded.as_answer) < scores(old, without.as_answer) - 3.0
    assert scores(fact, guarded.as_answer) > scores(old, guarded.as_answer) + 2.0


def test_every_further_fact_raises_the_score_that_the_facts_have_in_common() -> None:
    rng = np.random.default_rng(0)
    guard = wide(*rng.normal(size=(50, 4)).tolist())
    query = wide([1.0, 0.5, 0.0, 0.0])
    found = [
        place(frozen(guard), np.repeat(query, n, axis=0), np.full(n, 3.0)).as_answer
        for n in (1, 4, 16)
    ]
    values = [float(scores(query, row)[0]) for row in found]
    assert values == sorted(values)
    assert values[-1] > values[0] + 1.0


def test_a_curved_query_is_followed_by_its_excess() -> None:
    # By hand: 2 pull (z - m) = (1 - sigmoid(s - Z)) (2 - 3 z / sqrt(1 + z^2)), m = 2.
    curved = wide([2, 0, 0, 0])
    curved[:, LAYOUT.excess] = -3.0
    row = place(frozen(NO_GUARD, weight=0.0, pull=0.05), curved, np.array([20.0])).as_answer
    z, radius = row[0], np.sqrt(1 + row[0] ** 2)
    slack = 1 / (1 + np.exp(scores(curved, row)[0] - 20.0))
    assert 0.1 * (z - 2.0) == pytest.approx(slack * (2 - 3 * z / radius), rel=0.02)
    assert 0.8 < z < 1.2
    assert LAYOUT.unpack(row[None]).excess[0] == pytest.approx(radius - 1)

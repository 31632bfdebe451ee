"""Thresholds by hand: what an entity that was not fetched could score at most."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.bundle.table.entity_table import Layout
from serving.engine.index.bounds import float32_loss
from serving.engine.scoring import (
    DistanceScorer,
    LinearScorer,
    NeighbourScorer,
    Query,
    safe_floors,
)

LAYOUT = Layout(2)
ROW = np.zeros((1, 1, LAYOUT.width), dtype=np.float32)


def one_query(slope: float, offset: float = 0.0, bias: float = 0.0) -> Query:
    """A query at the origin: its product with a row is b_t - slope y."""
    vector = np.zeros((1, LAYOUT.width), dtype=np.float32)
    vector[:, LAYOUT.excess] = -slope
    vector[:, LAYOUT.tail_bias] = 1
    return Query(vector, np.array([offset]), np.array([bias]), np.array([slope]))


def row(excess: float, bias: float) -> np.ndarray:
    made = ROW.copy()
    made[..., LAYOUT.excess.start] = excess
    made[..., LAYOUT.tail_bias.start] = bias
    return made


def test_a_linear_score_is_product_and_offsets() -> None:
    query = one_query(slope=2.0, offset=-0.25, bias=0.5)
    assert LinearScorer().scores(query, row(excess=1.5, bias=1.0)).tolist() == [[-1.75]]
    assert LinearScorer().floors(query, np.array([-1.75])).tolist() == [-2.0]


def test_a_distance_score_is_the_formula() -> None:
    scorer = DistanceScorer(LAYOUT, curvature=4.0, largest_bias=1.0)
    query = one_query(slope=2.0, bias=0.5)
    u = np.cosh(1.2) - 1  # so that acosh(1 + u) = 1.2
    expected = -(1.2**2) / 4 + 0.25 + 0.5
    assert scorer.scores(query, row(u, 0.25))[0, 0] == pytest.approx(expected, rel=1e-6)


def test_the_floor_of_a_distance_score_is_the_worse_of_two_ends() -> None:
    """c = 1, b_max = 1: to reach s = 0 at u = 0 takes p = 0; with the greatest bias,
    f(u) = 1, that is u = cosh(1) - 1, and p = 1 - slope u."""
    scorer = DistanceScorer(LAYOUT, curvature=1.0, largest_bias=1.0)
    reach = np.cosh(1.0) - 1
    steep = scorer.floors(one_query(slope=4.0), np.array([0.0]))[0]
    flat = scorer.floors(one_query(slope=0.1), np.array([0.0]))[0]
    assert steep == pytest.approx(1 - 4 * reach)
    assert flat == 0.0


@pytest.mark.parametrize("slope", [0.05, 0.5, 2.0, 30.0])
@pytest.mark.parametrize("curvature", [0.2, 1.0, 5.0])
def test_below_the_floor_no_entity_reaches_the_score(slope: float, curvature: float) -> None:
    """Every excess and bias on a grid, up to the greatest bias there is."""
    largest = 1.5
    scorer = DistanceScorer(LAYOUT, curvature, largest)
    excess = np.geomspace(1e-6, 1e4, 80).astype(np.float32)
    bias = np.linspace(-5, largest, 40).astype(np.float32)
    grid = np.array([(x, b) for x in [np.float32(0), *excess] for b in bias])
    rows = np.zeros((1, len(grid), LAYOUT.width), dtype=np.float32)
    rows[0, :, LAYOUT.excess.start], rows[0, :, LAYOUT.tail_bias.start] = grid.T
    query = one_query(slope, offset=0.3, bias=-0.7)
    scores = scorer.scores(query, rows)[0]
    products = (grid[:, 1] - slope * grid[:, 0].astype(np.float64)).astype(np.float64)
    for score in np.quantile(scores, [0.01, 0.3, 0.7, 0.99]):
        floor = scorer.floors(query, np.array([score]))[0]
        below = products < floor - 1e-6 * (1 + abs(floor))
        assert (scores[below] < score).all()
    assert below.any()  # the best score leaves something out


def test_the_floor_of_a_neighbour_is_its_distance() -> None:
    scorer = NeighbourScorer(LAYOUT, curvature=4.0)
    query = Query(one_query(1.0).vector, np.zeros(1), np.zeros(1), np.ones(1))
    assert scorer.scores(query, row(np.cosh(1.0) - 1, 0.0))[0, 0] == pytest.approx(-0.5, rel=1e-6)
    assert scorer.floors(query, np.array([-0.5]))[0] == pytest.approx(1 - np.cosh(1.0))


def test_what_float32_may_lose() -> None:
    """W = 8, so n = 10: gamma = 10 u / (1 - 10 u), times |q| = sqrt(5) and |v| = 3."""
    vector = np.array([[2, 1, 0, 0, 0, 0, 0, 0]], dtype=np.float32)
    unit = 2.0**-24
    gamma = 10 * unit / (1 - 10 * unit)
    assert float32_loss(vector, 3.0, 8)[0] == pytest.approx(gamma * 3 * np.sqrt(5), rel=1e-9)


def test_what_float64_may_lose_is_taken_off() -> None:
    query = one_query(slope=2.0)
    floor = safe_floors(LinearScorer(), query, np.array([1.0]), row_norm=3.0)[0]
    assert 1 - 1e-10 < floor < 1


def test_a_score_alone_and_in_company_is_the_same_to_the_last_bit() -> None:
    generator = np.random.default_rng(0)
    layout = Layout(32)
    rows = generator.normal(size=(1, 501, layout.width)).astype(np.float16)
    vector = generator.normal(size=(7, layout.width)).astype(np.float32)
    offset, bias = generator.normal(size=(2, 7))
    query = Query(vector, offset, bias, np.ones(7))
    scorers = (
        LinearScorer(),
        DistanceScorer(layout, 0.5, 3.0),
        NeighbourScorer(layout, 0.5),
    )
    for scorer in scorers:
        together = scorer.scores(query, rows)
        for place in (0, 3, 17, 500):
            apart = scorer.scores(query.take(slice(2, 3)), rows[:, place : place + 1])
            assert apart[0, 0] == together[2, place]

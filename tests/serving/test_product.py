"""Block maxima: nothing outside the chosen blocks exceeds what is inside."""

from __future__ import annotations

import numpy as np
import pytest

from serving.product import block_maxima, block_of, lane_of

NOTHING = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def maxima_of(matrix: np.ndarray, queries: np.ndarray, skipped: tuple = NOTHING):  # type: ignore
    return block_maxima(lambda a, b: matrix[a:b], len(matrix), queries, skipped)


@pytest.mark.parametrize("size", [1, 7, 1024, 1025, 5000])
def test_blocks_hold_each_row_once(size: int) -> None:
    generator = np.random.default_rng(size)
    matrix = generator.normal(size=(size, 3)).astype(np.float32)
    maxima = maxima_of(matrix, generator.normal(size=(2, 3)).astype(np.float32))
    rows = maxima.rows(np.arange(len(maxima.values)))
    assert sorted(rows[rows < size].tolist()) == list(range(size))
    every = np.arange(size)
    assert (rows[block_of(every), lane_of(every)] == every).all()


@pytest.mark.parametrize("count", [1, 5, 40, 10_000])
def test_the_chosen_blocks_hold_the_greatest_products(count: int) -> None:
    generator = np.random.default_rng(count)
    matrix = generator.normal(size=(6000, 4)).astype(np.float32)
    queries = generator.normal(size=(9, 4)).astype(np.float32)
    products = queries @ matrix.T
    maxima = maxima_of(matrix, queries)
    blocks, reach = maxima.best(count)
    for one in range(9):
        inside = np.zeros(6000, dtype=bool)
        rows = maxima.rows(blocks[one])
        inside[rows[rows < 6000]] = True
        assert len(set(blocks[one].tolist())) == min(count, len(maxima.values))
        best = np.argsort(-products[one])[:count]
        assert inside[best].all()
        outside = products[one][~inside]
        assert len(outside) == 0 or outside.max() <= reach[one] + 1e-5
        assert len(outside) > 0 or reach[one] == -np.inf


def test_skipped_rows_do_not_count() -> None:
    matrix = np.arange(3000, dtype=np.float32)[:, None]
    queries = np.ones((2, 1), dtype=np.float32)
    skipped = (np.array([2998, 2999]), np.array([1, 1]))
    maxima = maxima_of(matrix, queries, skipped)
    assert maxima.values.max(axis=0).tolist() == [2999, 2997]


def test_everything_that_reaches_a_threshold_is_found() -> None:
    generator = np.random.default_rng(1)
    matrix = generator.normal(size=(4000, 4)).astype(np.float32)
    queries = generator.normal(size=(5, 4)).astype(np.float32)
    maxima = maxima_of(matrix, queries)
    which, thresholds = np.array([1, 4]), np.array([2.5, 3.0])
    places, blocks = maxima.reaching(which, thresholds)
    rows = maxima.rows(blocks)
    for place in (0, 1):
        wanted = np.flatnonzero(matrix @ queries[which[place]] >= thresholds[place] + 1e-5)
        assert np.isin(wanted, rows[places == place]).all()
        assert len(wanted)

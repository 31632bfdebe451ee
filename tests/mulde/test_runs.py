"""Places of runs that lie one after another."""

from __future__ import annotations

import numpy as np

from mulde.runs import run_owners, run_places

STARTS, SIZES = np.array([7, 0, 3, 9]), np.array([2, 0, 3, 1])


def test_places_go_up_by_one_within_each_run() -> None:
    assert run_places(STARTS, SIZES).tolist() == [7, 8, 3, 4, 5, 9]
    assert run_places(0, SIZES).tolist() == [0, 1, 0, 1, 2, 0]


def test_each_place_has_the_number_of_its_run() -> None:
    assert run_owners(SIZES).tolist() == [0, 0, 2, 2, 2, 3]


def test_no_runs_have_no_places() -> None:
    none = np.zeros(0, np.int64)
    assert run_places(none, none).tolist() == run_owners(none).tolist() == []

"""Exclusions are what sets of pairs say, whichever part of a batch is asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.index.base import Exclusions

QUERIES, ROWS = 5, 10
pairs = st.lists(st.tuples(st.integers(0, QUERIES - 1), st.integers(0, ROWS - 1)), max_size=15)
rows = st.sets(st.integers(0, ROWS - 1))


def made(known: list[tuple[int, int]], everywhere: set[int]) -> Exclusions:
    owners, excluded = np.array(known, np.int64).reshape(-1, 2).T
    found = Exclusions.of_pairs(owners, excluded, QUERIES)
    found.everywhere = np.array(sorted(everywhere), np.int64)
    return found


def sets(excluded: Exclusions) -> list[set[int]]:
    """The excluded rows of each query."""
    mine = [excluded.rows[excluded.owners == query] for query in range(excluded.queries)]
    return [{*one.tolist(), *excluded.everywhere.tolist()} for one in mine]


def expected(known: list[tuple[int, int]], everywhere: set[int]) -> list[set[int]]:
    return [{r for q, r in known if q == query} | everywhere for query in range(QUERIES)]


@given(pairs, rows)
def test_parts_and_picks_are_those_of_the_queries(
    known: list[tuple[int, int]], everywhere: set[int]
) -> None:
    excluded, wanted = made(known, everywhere), expected(known, everywhere)
    assert sets(excluded) == wanted
    assert sets(excluded.take(1, 4)) == wanted[1:4]
    assert sets(excluded.pick(np.array([0, 3]))) == [wanted[0], wanted[3]]
    assert (excluded.counts >= [len(one) for one in wanted]).all()
    assert excluded.is_empty == (not known and not everywhere)


@given(pairs, rows, rows)
def test_places_are_those_in_the_allowed_rows(
    known: list[tuple[int, int]], everywhere: set[int], allowed: set[int]
) -> None:
    rows = np.array(sorted(allowed), np.int64)
    owners, places = made(known, everywhere).within(rows)
    found = {(int(q), int(rows[p])) for q, p in zip(owners, places, strict=True)}
    wanted = expected(known, everywhere)
    assert found == {(q, row) for q in range(QUERIES) for row in wanted[q] & allowed}

"""Which relations loop, and what that does to scores."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.evaluation.self_loops import LOOP, looping, loopless, lower, without_loops

TRIPLES = np.array([[0, 0, 1], [2, 0, 2], [0, 1, 1], [1, 1, 0], [3, 3, 3]], dtype=np.int32)


@pytest.mark.parametrize(
    ("at_least", "expected"), [(0.01, (0, 3)), (0.5, (0, 3)), (0.51, (3,)), (1.0, (3,))]
)
def test_a_relation_loops_from_that_share_of_its_triples_on(
    at_least: float, expected: tuple[int, ...]
) -> None:
    assert looping(TRIPLES, 5, at_least) == expected


def test_all_but_the_looping_are_loopless_in_both_directions() -> None:
    assert loopless((0, 3), 5).tolist() == 2 * [False, True, True, False, True]
    assert loopless((), 2).all()
    assert not loopless(None, 2).any()


def test_only_the_loops_of_loopless_relations_are_lowered() -> None:
    entities, relations = np.array([0, 1, 1]), np.array([0, 1, 3])
    mask = loopless((0,), 2)
    scores = np.arange(6, dtype=np.float32).reshape(3, 2)
    expected = scores.copy()
    expected[1:, 1] -= LOOP
    lower(scores, entities, relations, mask)
    np.testing.assert_array_equal(scores, expected)
    again = without_loops(lambda e, r: np.zeros((len(e), 2)), mask)(entities, relations)
    np.testing.assert_array_equal(again, [[0, 0], [0, -LOOP], [0, -LOOP]])

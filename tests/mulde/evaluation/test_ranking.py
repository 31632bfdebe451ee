"""The one definition of a filtered rank, by hand and against a loop over candidates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mulde.evaluation.ranking import Quality, filtered_ranks, summarise

NAN = math.nan


def rank(scores: list[float], target: int, known: tuple[int, ...] = ()) -> float:
    """The rank of one target."""
    found = filtered_ranks(
        np.array([scores], dtype=np.float32),
        np.array([target]),
        np.array([0, len(known)]),
        np.array(known, dtype=np.int64),
    )
    return float(found[0])


@pytest.mark.parametrize(
    ("claim", "scores", "target", "known", "expected"),
    [
        ("the best is first", [0.9, 0.5, 0.1], 0, (), 1.0),
        ("the worst is last", [0.9, 0.5, 0.1], 2, (), 3.0),
        ("two equal share places 1 and 2", [0.5, 0.5, 0.1], 0, (), 1.5),
        ("all equal take the middle place", [0.5, 0.5, 0.5], 1, (), 2.0),
        ("other known answers are left out", [0.9, 0.8, 0.7, 0.6], 3, (0, 2, 3), 2.0),
        ("equal known answers are left out", [0.5, 0.5, 0.5], 1, (0, 1), 1.5),
        ("a known target is not left out", [0.9, 0.5], 1, (1,), 2.0),
        ("worse known answers change nothing", [0.9, 0.5, 0.1], 1, (2,), 2.0),
        ("a NaN target takes the last place", [0.9, NAN, 0.1], 1, (), 3.0),
        ("a NaN target is last among NaNs", [NAN, NAN, 0.1], 0, (), 3.0),
        ("a NaN target is last among those left", [0.9, NAN, 0.1, 0.2], 1, (0, 2), 2.0),
        ("a NaN candidate is worse than the target", [NAN, -1e30, 0.1], 1, (), 2.0),
        ("a known NaN candidate changes nothing", [NAN, 0.5, 0.9], 1, (0,), 2.0),
        ("minus infinity beats NaN", [-math.inf, NAN], 0, (), 1.0),
        ("infinities tie", [math.inf, math.inf, 0.0], 0, (), 1.5),
        ("a single candidate is first", [0.3], 0, (), 1.0),
    ],
)
def test_rank_by_hand(
    claim: str, scores: list[float], target: int, known: tuple[int, ...], expected: float
) -> None:
    assert rank(scores, target, known) == expected, claim


def test_each_query_of_a_batch_has_its_own_known_answers() -> None:
    scores = np.array([[3.0, 2.0, 1.0]] * 3)
    offsets, known = np.array([0, 1, 1, 3]), np.array([0, 0, 1])
    ranks = filtered_ranks(scores, np.array([2, 2, 2]), offsets, known)
    assert ranks.tolist() == [2.0, 3.0, 1.0]


def test_a_batch_of_no_queries_has_no_ranks() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert filtered_ranks(np.zeros((0, 4)), none, np.zeros(1, dtype=np.int64), none).shape == (0,)


@st.composite
def batches(draw: st.DrawFn) -> tuple[NDArray[np.float32], list[int], list[list[int]]]:
    """Scores [B, E] with many ties and NaNs, targets [B] and known answers of each query."""
    entities = draw(st.integers(1, 7))
    count = draw(st.integers(1, 4))
    value = st.sampled_from([-math.inf, -1.0, 0.0, -0.0, 0.5, 1.0, math.inf, NAN])
    row = st.lists(value, min_size=entities, max_size=entities)
    entity = st.integers(0, entities - 1)
    scores = draw(st.lists(row, min_size=count, max_size=count))
    targets = draw(st.lists(entity, min_size=count, max_size=count))
    known = draw(st.lists(st.lists(entity, unique=True), min_size=count, max_size=count))
    return np.array(scores, dtype=np.float32), targets, known


def naive_rank(scores: list[float], target: int, known: list[int]) -> float:
    """By the definition, one candidate after another."""
    left = [row for row in range(len(scores)) if row == target or row not in known]
    own = scores[target]
    if math.isnan(own):
        return float(len(left))
    better = sum(scores[row] > own for row in left)
    equal = sum(scores[row] == own for row in left)
    return (better + 1 + better + equal) / 2


@given(batches())
def test_ranks_equal_a_loop_over_candidates(
    drawn: tuple[NDArray[np.float32], list[int], list[list[int]]],
) -> None:
    scores, targets, known = drawn
    offsets = np.cumsum([0, *map(len, known)])
    rows = np.array([row for rows in known for row in rows], dtype=np.int64)
    found = filtered_ranks(scores, np.array(targets), offsets, rows)
    triples = zip(scores.tolist(), targets, known, strict=True)
    assert found.tolist() == [naive_rank(*triple) for triple in triples]


def test_quality_by_hand() -> None:
    quality = Quality.of(np.array([1.0, 1.5, 3.0, 10.0, 11.0]))
    assert quality.mrr == pytest.approx((1 + 1 / 1.5 + 1 / 3 + 1 / 10 + 1 / 11) / 5)
    assert quality.as_dict() == {
        "mrr": quality.mrr, "hits@1": 0.2, "hits@3": 0.6, "hits@10": 0.8,
    }  # fmt: skip
    assert quality.count == 5


def test_no_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="no ranks"):
        Quality.of(np.zeros(0))


def test_total_is_over_both_directions_and_not_the_mean_of_two_means() -> None:
    figures = summarise(np.array([1.0]), np.array([2.0, 4.0, 4.0]))
    assert {name: row["mrr"] for name, row in figures.items()} == pytest.approx(
        {"tail": 1.0, "head": 1 / 3, "total": 0.5}
    )

"""Tens of thousands of certified answers are the exhaustive ones, on tables made to be hard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.engine.index.base import Exclusions, Search
from serving.engine.results import Results
from serving.engine.scoring import Query
from tests.serving.engine.test_retriever import LAYOUT, Asked, World, neighbours, queries

ENTITIES, QUERIES = 900, 2_000


@dataclass(frozen=True)
class Hardship:
    """What a table and its questions are like.

    Attributes:
        radius: spread of the tangent vectors; 40 is the edge of the ball in half precision.
        bias: spread of the tail biases; 2000 swamps every distance.
        distinct: different rows; few of them make ties of hundreds.
        k: answers wanted.
        excluded: share of the entities that each query's filter takes away.
    """

    radius: float = 1.0
    bias: float = 1.0
    distinct: int = ENTITIES
    k: int = 10
    excluded: float = 0.01


HARDSHIPS = {
    "plain": Hardship(),
    "edge": Hardship(radius=40.0),
    "origin": Hardship(radius=1e-3, bias=1e-3),
    "biases": Hardship(bias=2000.0),
    "ties": Hardship(distinct=7, k=50),
    "alike": Hardship(distinct=1, k=3),
    "nearly all": Hardship(k=ENTITIES - 1),
    "heavy filters": Hardship(excluded=0.97, k=40),
}


def truth(scores: NDArray[np.float64], excluded: Exclusions, k: int) -> list[NDArray[np.int64]]:
    """Best k rows of each query by a plain stable sort, which leaves ties in ascending row."""
    scores = scores.copy()
    for one in range(len(scores)):
        scores[one, excluded.rows[excluded.owners == one]] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    left = np.isfinite(np.take_along_axis(scores, order, 1))
    return [row[some] for row, some in zip(order, left, strict=True)]


def check(found: Results, expected: list[NDArray[np.int64]], way: str) -> None:
    assert found.exact.all(), way
    assert np.array_equal(found.counts, [len(rows) for rows in expected]), way
    assert np.array_equal(found.rows, np.concatenate(expected)), way


@pytest.mark.parametrize("name", HARDSHIPS)
@pytest.mark.parametrize("kind", ["linear", "distance", "nearest"])
def test_certified_answers_are_those_of_sorting_everything(
    tmp_path: Path, kind: Asked, name: str
) -> None:
    """24 kinds of table and question, 2,000 questions each, two ways to search."""
    hard, generator = HARDSHIPS[name], np.random.default_rng([len(kind), len(name)])
    pick = generator.integers(0, hard.distinct, size=ENTITIES)
    points = (generator.normal(size=(hard.distinct, LAYOUT.dimension)) * hard.radius)[pick]
    world = World(tmp_path, kind, points, (generator.normal(size=hard.distinct) * hard.bias)[pick])
    make = neighbours if kind == "nearest" else queries
    query: Query = make(generator, QUERIES, 1.0, 1.0)
    owner, row = np.nonzero(generator.random((QUERIES, ENTITIES)) < hard.excluded)
    excluded = Exclusions.of_pairs(owner, row, QUERIES)
    expected = truth(world.retriever.scores(query), excluded, hard.k)
    ways = {"bytes": world.retriever, "mapped": world.mapped}
    for way, retriever in ways.items():
        check(retriever.search(query, Search(hard.k, excluded)), expected, way)

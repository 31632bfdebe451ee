"""Every way of searching gives what exhaustive float64 scoring gives, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mulde.bundle.manifest import Score
from mulde.bundle.table.entity_table import Layout, Precision
from serving.engine.entity_table import EntityTable
from serving.engine.index.base import Exclusions, Search
from serving.engine.index.faiss_table import FaissIndex, WholeTable
from serving.engine.index.int8 import Int8Index
from serving.engine.results import Results
from serving.engine.retriever import Retriever
from serving.engine.scoring import NeighbourScorer, ProductScorer, Query, scorer_for
from training.export.table.entity_table import write_table

LAYOUT = Layout(5)
CURVATURE = 0.6

Asked = Literal["linear", "distance", "nearest"]


class World:
    """A table, its index and a retriever, with the exhaustive answer beside them."""

    def __init__(
        self,
        folder: Path,
        kind: Asked,
        points: NDArray[np.float64],
        bias: NDArray[np.float64],
        precision: Precision = "fp16",
    ) -> None:
        table = LAYOUT.pack(points, bias, np.zeros(len(points)), precision)
        path = folder / f"{abs(hash((kind, points.tobytes(), bias.tobytes(), precision)))}.faiss"
        write_table(path, table, precision)
        self.index = EntityTable(path, len(table), LAYOUT.width)
        wide = table.astype(np.float64)
        largest = float(wide[:, LAYOUT.tail_bias].sum(axis=1).max())
        self.scorer: ProductScorer
        if kind == "nearest":
            self.scorer = NeighbourScorer(LAYOUT, CURVATURE)
        else:
            self.scorer = scorer_for(Score(kind, CURVATURE), LAYOUT, largest)
        norm = float(np.linalg.norm(wide, axis=1).max())
        whole = WholeTable(self.index, norm)
        self.retriever, self.mapped = (
            Retriever(self.index, self.scorer, norm, candidates)
            for candidates in (Int8Index(self.index, LAYOUT), FaissIndex(whole, whole))
        )

    def truth(self, query: Query, k: int, excluded: Exclusions, allowed: object) -> list[list[int]]:
        """Sort everything, without any of the code under test but the score."""
        scores = self.retriever.scores(query)
        answers = []
        for one in range(len(query)):
            rows = np.arange(self.index.entities) if allowed is None else np.asarray(allowed)
            rows = rows[~np.isin(rows, excluded.rows[excluded.owners == one])]
            order = sorted(rows.tolist(), key=lambda row: (-scores[one, row], row))
            answers.append(order[:k])
        return answers


def queries(generator: np.random.Generator, count: int, slope: float, spread: float) -> Query:
    """Well-formed queries: points of the hyperboloid and slopes, as an encoder gives them."""
    points = generator.normal(size=(count, LAYOUT.dimension)) * spread
    excess = np.sqrt(1 + np.square(points).sum(axis=1)) - 1
    slopes = np.full(count, slope)
    vector = np.zeros((count, LAYOUT.width), dtype=np.float32)
    vector[:, LAYOUT.spatial] = slopes[:, None] * points
    vector[:, LAYOUT.excess] = -(slopes * (1 + excess))[:, None]
    vector[:, LAYOUT.tail_bias] = 1
    bias = generator.normal(size=count)
    return Query(vector, (-slopes * excess).astype(np.float32).astype(np.float64), bias, slopes)


def neighbours(generator: np.random.Generator, count: int, slope: float, spread: float) -> Query:
    """The same as queries for neighbours: slope 1, no biases."""
    query = queries(generator, count, 1.0, spread)
    query.vector[:, LAYOUT.tail_bias] = 0
    return Query(query.vector, query.offset, np.zeros(count), query.slope)


def split(found: Results) -> list[list[int]]:
    ends = found.offsets[1:-1]
    return [part.tolist() for part in np.split(found.rows, ends)]


def random_exclusions(
    generator: np.random.Generator, count: int, size: int, most: int
) -> Exclusions:
    pairs = generator.integers(0, [count, size], size=(most, 2))
    return Exclusions.of_pairs(pairs[:, 0], pairs[:, 1], count)


def check_all_ways(
    world: World, query: Query, k: int, excluded: Exclusions, allowed: NDArray[np.int64] | None
) -> None:
    truth = world.truth(query, k, excluded, allowed)
    wanted = Search(k, excluded, allowed)
    ways = [
        world.retriever.by_index(query, wanted),
        world.retriever.by_scoring_all(query, wanted),
        world.retriever.search(query, wanted),
        world.mapped.search(query, wanted),
    ]
    if allowed is None:
        ways.append(world.mapped.by_index(query, wanted))
    scores = world.retriever.scores(query)
    for found in ways:
        assert split(found) == truth
        assert found.exact.all()
        assert np.array_equal(found.scores, scores[found.owners, found.rows])


KINDS: list[Asked] = ["linear", "distance", "nearest"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("size", [1, 3, 63, 64, 65, 1000, 2500])
def test_all_ways_agree_around_the_padded_size(
    tmp_path: Path, kind: Asked, precision: Precision, size: int
) -> None:
    generator = np.random.default_rng(size)
    points = generator.normal(size=(size, LAYOUT.dimension))
    world = World(tmp_path, kind, points, generator.normal(size=size), precision)
    make = neighbours if kind == "nearest" else queries
    query = make(generator, 9, 2.0, 0.8)
    for k in sorted({1, min(10, size), max(1, size - 1), size}):
        check_all_ways(world, query, k, random_exclusions(generator, 9, size, 40), None)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    size=st.integers(2, 400),
    count=st.integers(1, 12),
    radius=st.sampled_from([0.0, 1e-3, 1.0, 6.0, 40.0]),
    spread=st.sampled_from([1e-3, 1.0, 8.0]),
    bias=st.sampled_from([0.0, 1.0, 100.0, 2000.0]),
    distinct=st.sampled_from([1, 2, 7, 400]),
    slope=st.sampled_from([0.01, 1.0, 50.0]),
    filtered=st.floats(0, 1),
    narrow=st.booleans(),
    data=st.data(),
)
def test_all_ways_agree_on_hard_tables(
    tmp_path: Path,
    seed: int,
    kind: Asked,
    size: int,
    count: int,
    radius: float,
    spread: float,
    bias: float,
    distinct: int,
    slope: float,
    filtered: float,
    narrow: bool,
    data: st.DataObject,
) -> None:
    """Duplicates, ties, points far out, biases that swamp distances, k near E, heavy filters."""
    generator = np.random.default_rng(seed)
    pick = generator.integers(0, distinct, size=size)
    points = (generator.normal(size=(distinct, LAYOUT.dimension)) * radius)[pick]
    world = World(tmp_path, kind, points, (generator.normal(size=distinct) * bias)[pick])
    make = neighbours if kind == "nearest" else queries
    query = make(generator, count, slope, spread)
    excluded = random_exclusions(generator, count, size, int(filtered * size * count))
    allowed = np.flatnonzero(generator.random(size) < 0.5) if narrow else None
    if allowed is not None and not len(allowed):
        allowed = np.array([0])
    k = data.draw(st.integers(1, size))
    check_all_ways(world, query, k, excluded, allowed)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_batch_mates(tmp_path: Path, kind: Asked) -> None:
    generator = np.random.default_rng(5)
    world = World(tmp_path, kind, generator.normal(size=(3000, 5)), generator.normal(size=3000))
    make = neighbours if kind == "nearest" else queries
    query = make(generator, 300, 2.0, 1.0)
    together = world.retriever.search(query, Search(7, Exclusions.none(300)))
    for one in range(0, 300, 37):
        single = query.take(slice(one, one + 1))
        alone = world.retriever.search(single, Search(7, Exclusions.none(1)))
        assert alone.rows.tolist() == together.rows[7 * one : 7 * one + 7].tolist()
        assert alone.scores.tolist() == together.scores[7 * one : 7 * one + 7].tolist()


def test_ties_come_in_ascending_row(tmp_path: Path) -> None:
    world = World(tmp_path, "linear", np.zeros((40, 5)), np.zeros(40))
    query = queries(np.random.default_rng(0), 5, 1.0, 1.0)
    check_all_ways(world, query, 4, Exclusions.none(5), None)
    found = world.retriever.search(query, Search(4, Exclusions.none(5)))
    assert split(found) == [[0, 1, 2, 3]] * 5


def test_without_exactness_an_uncertain_answer_says_so(tmp_path: Path) -> None:
    """2,000 equal rows: no fetch of a few can be certain, and only ``exact`` looks at all."""
    world = World(tmp_path, "linear", np.zeros((2000, 5)), np.zeros(2000))
    query = queries(np.random.default_rng(0), 1, 1.0, 1.0)
    wanted = Search(3, Exclusions.none(1))
    quick = world.mapped.by_index(query, wanted._replace(exact=False))
    slow = world.mapped.by_index(query, wanted)
    assert not quick.exact.all()
    assert slow.exact.all()
    assert (int(quick.fetched[0]) < 20, int(slow.fetched[0])) == (True, 2000)


def test_a_linear_table_certifies_at_once(tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    world = World(tmp_path, "linear", generator.normal(size=(5000, 5)), generator.normal(size=5000))
    query = queries(generator, 200, 2.0, 1.0)
    found = world.retriever.by_index(query, Search(10, Exclusions.none(200), exact=False))
    assert found.exact.mean() >= 0.99
    assert np.median(found.fetched) <= 60


def test_no_candidate_gives_no_answer(tmp_path: Path) -> None:
    world = World(tmp_path, "linear", np.zeros((40, 5)), np.zeros(40))
    query = queries(np.random.default_rng(0), 5, 1.0, 1.0)
    barred = Exclusions.of_pairs(np.arange(5), np.arange(5), 5)
    found = world.retriever.search(query, Search(4, barred, np.zeros(0, np.int64)))
    assert found.counts.tolist() == [0] * 5
    assert found.exact.all()

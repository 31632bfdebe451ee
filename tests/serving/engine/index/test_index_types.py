"""Every kind of index: what claims to be exact is the exhaustive answer, to the last bit.

The worlds are hostile: biases that swamp distances, points at the ball's edge, ties, duplicates,
heavy filters, k near the number of entities; and usual ones beside them.

Shape letters: E entities, B queries.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.manifest import Index, Score
from mulde.bundle.table.entity_table import Layout, Precision
from mulde.bundle.table.quantised_table import BITS, pack_quantised
from mulde.errors import BundleError
from mulde.typing import Float64, Rows
from serving.engine.entity_table import EntityTable, scan_table
from serving.engine.index.base import CandidateIndex, Exclusions, Search
from serving.engine.index.int8 import Int8Index
from serving.engine.loading import column_weights, open_faiss
from serving.engine.retriever import Retriever
from serving.engine.scoring import Query, scorer_for
from tests.support.toy import Kind
from training.export.table.codes import write_cells
from training.export.table.entity_table import write_quantised, write_table

LAYOUT = Layout(10)
ENTITIES = 900
CURVATURE = 0.4
KINDS = {
    "int8": Index("int8"),
    "table": Index("table"),
    "ivf": Index("ivf", cells=24, probes=5, fetched=15),
}


def plain(generator: np.random.Generator) -> tuple[Float64, Float64]:
    return generator.normal(size=(ENTITIES, 10)) * 0.4, generator.normal(size=ENTITIES) * 0.3


def swamping(generator: np.random.Generator) -> tuple[Float64, Float64]:
    bias = np.where(generator.random(ENTITIES) < 0.02, 500.0, 0.0)
    return generator.normal(size=(ENTITIES, 10)), bias + generator.normal(size=ENTITIES) * 1e-3


def at_the_edge(generator: np.random.Generator) -> tuple[Float64, Float64]:
    """Radii up to 12 on the hyperboloid, where the largest product is 10^5 times the smallest."""
    points = generator.normal(size=(ENTITIES, 10))
    radius = np.sinh(generator.uniform(0, 9, size=(ENTITIES, 1)))
    return points / np.linalg.norm(points, axis=1, keepdims=True) * radius, np.zeros(ENTITIES)


def tied(generator: np.random.Generator) -> tuple[Float64, Float64]:
    """Seven different rows, each a hundred times and more."""
    pick = generator.integers(0, 7, size=ENTITIES)
    return generator.normal(size=(7, 10))[pick], generator.normal(size=7)[pick]


def nearly_tied(generator: np.random.Generator) -> tuple[Float64, Float64]:
    return generator.normal(size=(1, 10)) + np.zeros((ENTITIES, 1)), generator.normal(
        size=ENTITIES
    ) * 1e-7


WORLDS = {make.__name__: make for make in (plain, swamping, at_the_edge, tied, nearly_tied)}


def queries(generator: np.random.Generator, count: int) -> Query:
    """As an encoder gives them: points of the hyperboloid, and slopes of several sizes."""
    spread = generator.choice([1e-3, 0.5, 1.0, 30.0], size=(count, 1))
    points = generator.normal(size=(count, 10)) * spread
    excess = np.sqrt(1 + np.square(points).sum(axis=1)) - 1
    slopes = generator.choice([0.02, 1.0, 40.0], size=count)
    vector = np.zeros((count, LAYOUT.width), dtype=np.float32)
    vector[:, LAYOUT.spatial] = slopes[:, None] * points
    vector[:, LAYOUT.excess] = -(slopes * (1 + excess))[:, None]
    vector[:, LAYOUT.tail_bias] = 1
    offset = (-slopes * excess).astype(np.float32).astype(np.float64)
    return Query(vector, offset, generator.normal(size=count), slopes)


def table_and_index(
    folder: Path, world: str, kind: str, precision: Precision = "fp16"
) -> tuple[EntityTable, CandidateIndex]:
    generator = np.random.default_rng(len(world))
    points, bias = WORLDS[world](generator)
    path = folder / "entities.faiss"
    if precision in BITS:
        write_quantised(
            path, *pack_quantised(LAYOUT, points, bias, np.zeros(ENTITIES), BITS[precision])
        )
    else:
        write_table(path, LAYOUT.pack(points, bias, np.zeros(ENTITIES), precision), precision)
    table = EntityTable(path, ENTITIES, LAYOUT.width)
    extent = scan_table(table, LAYOUT)
    weights = column_weights(queries(generator, 200), LAYOUT)
    codes = write_codes(folder, table, weights, kind)
    if kind == "int8":
        return table, Int8Index(table, LAYOUT)
    return table, open_faiss(KINDS[kind], codes, table, extent, weights)


def retriever(
    folder: Path, world: str, score: Kind, kind: str, precision: Precision = "fp16"
) -> Retriever:
    table, candidates = table_and_index(folder, world, kind, precision)
    extent = scan_table(table, LAYOUT)
    scorer = scorer_for(Score(score, CURVATURE), LAYOUT, extent.tail_bias)
    return Retriever(table, scorer, extent.row_norm, candidates)


def write_codes(folder: Path, table: EntityTable, weights: Float64, kind: str) -> Path:
    path = folder / "candidates.faiss"
    if kind == "ivf":
        write_cells(path, table, weights, KINDS["ivf"].cells)
    return path


def exhaustive(one: Retriever, query: Query, k: int, excluded: Exclusions) -> tuple[Rows, Float64]:
    """The k best rows [B, k] by float64 scores, ties by row; -1 and -inf where there are fewer."""
    scores = one.scores(query)
    scores[excluded.owners, excluded.rows] = -np.inf
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, rows, axis=1)
    return np.where(best > -np.inf, rows, -1), best


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("score", ["linear", "distance"])
@pytest.mark.parametrize("world", WORLDS)
def test_a_certified_answer_is_the_exhaustive_one(
    tmp_path: Path, world: str, score: Kind, kind: str
) -> None:
    """60 cases of 350 queries, some of them alone too; what claims to be exact is compared."""
    one = retriever(tmp_path, world, score, kind)
    generator = np.random.default_rng(7)
    for k, barred in ((1, 0), (10, 100), (10, 14_000), (100, 700), (ENTITIES - 3, 200)):
        query = queries(generator, 70)
        pairs = generator.integers(0, [70, ENTITIES], size=(barred, 2))
        excluded = Exclusions.of_pairs(pairs[:, 0], pairs[:, 1], 70)
        rows, scores = exhaustive(one, query, k, excluded)
        for exact in (True, False):
            found = one.search(query, Search(k, excluded, exact=exact))
            assert found.exact.all() or not exact
            told = np.flatnonzero(found.exact)
            for at in told[:: 1 if exact else 5]:
                mine = slice(*found.offsets[at : at + 2])
                real = rows[at] >= 0
                assert found.rows[mine].tolist() == rows[at][real].tolist()
                assert found.scores[mine].tolist() == scores[at][real].tolist()
        for at in (0, 23, 69):
            single, barred_here = query.take(slice(at, at + 1)), excluded.take(at, at + 1)
            alone = one.search(single, Search(k, barred_here))
            real = rows[at] >= 0
            assert alone.exact.all()
            assert alone.rows.tolist() == rows[at][real].tolist()
            assert alone.scores.tolist() == scores[at][real].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_a_certified_answer_is_the_exhaustive_one_of_a_table_of_any_precision(
    tmp_path: Path, precision: Precision, kind: str
) -> None:
    """The table is what its codes stand for, however roughly; one query alone and several."""
    for world in WORLDS:
        folder = tmp_path / world
        folder.mkdir()
        one = retriever(folder, world, "linear", kind, precision)
        generator = np.random.default_rng(9)
        query = queries(generator, 40)
        pairs = generator.integers(0, [40, ENTITIES], size=(4000, 2))
        excluded = Exclusions.of_pairs(pairs[:, 0], pairs[:, 1], 40)
        rows, scores = exhaustive(one, query, 10, excluded)
        found = one.search(query, Search(10, excluded))
        assert found.exact.all()
        assert np.array_equal(found.rows.reshape(40, 10), rows)
        assert np.array_equal(found.scores.reshape(40, 10), scores)
        for at in (0, 17, 39):
            single, barred = query.take(slice(at, at + 1)), excluded.take(at, at + 1)
            alone = one.search(single, Search(10, barred))
            assert alone.exact.all()
            assert np.array_equal(alone.rows, rows[at])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", WORLDS)
def test_what_was_not_seen_is_never_above_the_bound(tmp_path: Path, world: str, kind: str) -> None:
    table, index = table_and_index(tmp_path, world, kind)
    query = queries(np.random.default_rng(1), 300)
    products = query.vector.astype(np.float64) @ table.decode(0, ENTITIES).astype(np.float64).T
    unseen = np.full(300, np.nan)
    for found in index.nearest(query, 7, Exclusions.none(300), None):
        products[found.start + found.owners, found.rows] = -np.inf
        unseen[found.start : found.start + len(found.query)] = found.unseen()
    assert (products.max(axis=1) <= unseen).all()


@pytest.mark.parametrize("kind", ["int8", "table"])
def test_usual_answers_are_certain_without_asking(tmp_path: Path, kind: str) -> None:
    one = retriever(tmp_path, "plain", "linear", kind)
    query = queries(np.random.default_rng(3), 300)
    found = one.search(query, Search(10, Exclusions.none(300), exact=False))
    assert found.exact.mean() >= 0.99


def test_cells_that_are_left_out_are_sometimes_certain(tmp_path: Path) -> None:
    """Two heaps far apart: a query in one of them needs nothing from the other."""
    generator = np.random.default_rng(0)
    heap = np.repeat([[0.0] * 10, [6.0] * 10], ENTITIES // 2, axis=0)
    table = LAYOUT.pack(
        heap + generator.normal(size=(ENTITIES, 10)) * 0.01, np.zeros(ENTITIES), np.zeros(ENTITIES)
    )
    write_table(tmp_path / "entities.faiss", table, "fp16")
    index = EntityTable(tmp_path / "entities.faiss", ENTITIES, LAYOUT.width)
    extent = scan_table(index, LAYOUT)
    query = Query(np.zeros((1, LAYOUT.width), np.float32), np.zeros(1), np.zeros(1), np.ones(1))
    query.vector[:, LAYOUT.excess], query.vector[:, LAYOUT.tail_bias] = -1, 1
    weights = np.ones(LAYOUT.width)
    weights[LAYOUT.head_bias.start :] = 0
    write_cells(tmp_path / "cells", index, weights, 2)
    kind = Index("ivf", cells=2, probes=1, fetched=ENTITIES)
    candidates = open_faiss(kind, tmp_path / "cells", index, extent, weights)
    (found,) = candidates.nearest(query, 10, Exclusions.none(1), None)
    assert sorted(found.rows.tolist()) == list(range(ENTITIES // 2))
    assert found.unseen()[0] < -10


def test_cells_that_lack_a_row_are_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name, size in (("small", 40), ("large", 41)):
        table = LAYOUT.pack(generator.normal(size=(size, 10)), np.zeros(size), np.zeros(size))
        write_table(tmp_path / name, table, "fp16")
    small, large = (
        EntityTable(tmp_path / name, size, LAYOUT.width)
        for name, size in (("small", 40), ("large", 41))
    )
    weights = column_weights(queries(generator, 50), LAYOUT)
    write_cells(tmp_path / "cells", small, weights, 4)
    kind, extent = Index("ivf", cells=4, probes=2, fetched=5), scan_table(large, LAYOUT)
    with pytest.raises(BundleError, match=r"expected .* of 41 rows"):
        open_faiss(kind, tmp_path / "cells", large, extent, weights)

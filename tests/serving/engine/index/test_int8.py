"""Byte products: exact as integers, and never further from the truth than they say."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from mulde.bundle.table.entity_table import Layout
from mulde.typing import Products
from serving.engine.engine import Engine
from serving.engine.entity_table import EntityTable
from serving.engine.index import quantised
from serving.engine.index.base import Exclusions
from serving.engine.index.int8 import Int8Index
from serving.engine.index.quantised import (
    InexactProducts,
    ProductBounds,
    exact_range,
    product_session,
    quantise,
)
from serving.engine.index.scan import Scans
from serving.engine.index.scan_graph import (
    NARROW,
    WIDE,
    ByteRange,
    ByteTable,
    product_graph,
    scan_graph,
)
from serving.engine.scoring import Query
from tests.support.toy import toy_bundle
from training.export.table.entity_table import write_table

LAYOUT = Layout(7)


def table_of(
    folder: Path, points: NDArray[np.float64], bias: NDArray[np.float64]
) -> tuple[EntityTable, NDArray[np.float64]]:
    table = LAYOUT.pack(points, bias, np.zeros(len(points)), "fp32")
    write_table(folder / "entities.faiss", table, "fp32")
    index = EntityTable(folder / "entities.faiss", len(table), LAYOUT.width)
    return index, table.astype(np.float64)


def queries_of(generator: np.random.Generator, count: int, scale: float) -> Query:
    vector = np.zeros((count, LAYOUT.width), dtype=np.float32)
    vector[:, LAYOUT.spatial] = generator.normal(size=(count, LAYOUT.dimension)) * scale
    vector[:, LAYOUT.excess] = -scale * generator.uniform(1, 30, size=(count, 1))
    vector[:, LAYOUT.tail_bias] = 1
    return Query(vector, np.zeros(count), np.zeros(count), np.ones(count))


def rounded_of(index: EntityTable, span: ByteRange = WIDE) -> ByteTable:
    return quantise(index, LAYOUT, span, index.entities)


def scanned(table: ByteTable, query: Query) -> tuple[NDArray[np.int64], ProductBounds, Products]:
    """Products [B, N], bounds and slack [B] of queries, scan by scan."""
    scans, products, steps, slack = Scans(table, LAYOUT.width), [], [], []
    for start in range(0, len(query), 16):
        scan = scans.start(query.take(slice(start, start + 16)))
        products.append(scan.products.astype(np.int64))
        steps.append(scan.steps)
        slack.append(scan.slack.copy())
        scans.end(scan)
    bounds = ProductBounds(table, query.vector, *np.concatenate(steps, axis=1))
    return np.concatenate(products), bounds, np.concatenate(slack)


def approximated(products: NDArray[np.int64], bounds: ProductBounds) -> NDArray[np.float64]:
    """What integer products stand for, [B, N]."""
    return bounds.base[:, None] + bounds.step[:, None] * products


@pytest.mark.parametrize("radius", [0.0, 1e-6, 0.3, 5.0, 300.0])
@pytest.mark.parametrize("bias", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
@pytest.mark.parametrize("size", [1, 64, 700])
@pytest.mark.parametrize("span", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_loss_is_never_more_than_the_bound(
    tmp_path: Path, radius: float, bias: float, scale: float, size: int, span: ByteRange
) -> None:
    generator = np.random.default_rng(size)
    points = generator.normal(size=(size, LAYOUT.dimension)) * radius
    index, table = table_of(tmp_path, points, generator.normal(size=size) * bias)
    rounded, query = rounded_of(index, span), queries_of(generator, 30, scale)
    assert np.abs(rounded.weights.astype(np.int64)).max() <= span.weights
    exact = query.vector.astype(np.float64) @ table.T
    products, bounds, _ = scanned(rounded, query)
    lost = np.abs(approximated(products, bounds) - exact)
    assert (lost <= bounds.loss[:, None] * (1 + 1e-9)).all()


def test_the_bound_is_near_the_loss(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(3000, LAYOUT.dimension))
    index, table = table_of(tmp_path, points, generator.normal(size=3000))
    query = queries_of(generator, 50, 2.0)
    products, bounds, _ = scanned(rounded_of(index), query)
    exact = query.vector.astype(np.float64) @ table.T
    lost = np.abs(approximated(products, bounds) - exact).max(axis=1)
    assert np.median(lost / bounds.loss) > 0.2


def test_a_floor_lets_through_every_row_that_reaches_the_product(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    points = generator.normal(size=(2000, LAYOUT.dimension))
    index, table = table_of(tmp_path, points, generator.normal(size=2000))
    query = queries_of(generator, 40, 1.0)
    products, bounds, _ = scanned(rounded_of(index), query)
    exact = query.vector.astype(np.float64) @ table.T
    for rank in (0, 9, 500, 1999):
        wanted = np.sort(exact, axis=1)[:, ::-1][:, rank]
        passed = products >= bounds.floors(wanted)[:, None]
        assert passed[exact >= wanted[:, None]].all()
    assert (products >= bounds.floors(np.full(40, -1e30))[:, None]).all()
    assert not (products >= bounds.floors(np.full(40, 1e30))[:, None]).any()


def test_the_slack_covers_what_the_kth_may_have_gained_and_others_lost(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    points = generator.normal(size=(2000, LAYOUT.dimension))
    index, table = table_of(tmp_path, points, generator.normal(size=2000))
    query = queries_of(generator, 40, 1.0)
    products, bounds, slack = scanned(rounded_of(index), query)
    exact = query.vector.astype(np.float64) @ table.T
    assert (slack >= 2 * bounds.loss / bounds.step + 2).all()
    assert (slack <= 2 * bounds.loss / bounds.step + 5).all()
    for k in (1, 10, 300):
        kth = np.sort(products, axis=1)[:, ::-1][:, k - 1].astype(np.int32)
        best = np.sort(exact, axis=1)[:, ::-1][:, k - 1, None]
        assert (products >= (kth - slack)[:, None])[exact >= best].all()


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_a_scan_gives_the_products_of_any_number_of_queries(tmp_path: Path, count: int) -> None:
    """Also after another number of queries used the same buffer."""
    generator = np.random.default_rng(count)
    index, _ = table_of(tmp_path, generator.normal(size=(512, LAYOUT.dimension)), np.zeros(512))
    rounded = rounded_of(index, NARROW)
    scans, query = Scans(rounded, LAYOUT.width), queries_of(generator, 16, 1.0)
    assert scans.most_queries == 32
    scaled = query.vector[:, rounded.columns] * rounded.steps.astype(np.float32)
    step = np.abs(scaled).max(axis=1, keepdims=True) * np.float32(1 / NARROW.queries)
    expected = np.rint(scaled / step).astype(np.int64) @ rounded.weights.astype(np.int64)
    for size in (16, count, 3, count):
        scan = scans.start(query.take(slice(0, size)))
        assert np.array_equal(scan.products, expected[:size])
        scans.end(scan)


def test_no_more_buffers_exist_than_scans_are_under_way(tmp_path: Path) -> None:
    """A fifth concurrent scan waits until a buffer is free."""
    generator = np.random.default_rng(0)
    index, _ = table_of(tmp_path, generator.normal(size=(512, LAYOUT.dimension)), np.zeros(512))
    scans, query = Scans(rounded_of(index), LAYOUT.width), queries_of(generator, 1, 1.0)
    started, release = threading.Semaphore(0), threading.Event()

    def hold() -> int:
        scan = scans.start(query)
        started.release()
        assert release.wait(20)
        found = int(scan.products[0, 0])
        scans.end(scan)
        return found

    with ThreadPoolExecutor(9) as pool:
        running = [pool.submit(hold) for _ in range(9)]
        most = min(4, os.cpu_count() or 1)
        for _ in range(most):
            assert started.acquire(timeout=20)
        assert not started.acquire(timeout=0.2)
        release.set()
        assert len({one.result(20) for one in running}) == 1


def test_the_scan_is_sound_onnx(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    index, _ = table_of(tmp_path, generator.normal(size=(64, LAYOUT.dimension)), np.zeros(64))
    rounded, query = rounded_of(index, NARROW), queries_of(generator, 5, 1.0)
    model = onnx.load_from_string(scan_graph(rounded, LAYOUT.width))
    onnx.checker.check_model(model, full_check=True)
    names = ["scan.products", "scan.step"]
    zero = np.full(5, NARROW.zero, np.uint8)
    feed = {"scan.vector": query.vector, "scan.zero": zero}
    model.opset_import[0].version = 19  # the first with DequantizeLinear in the reference
    outputs = ReferenceEvaluator(model).run(names, feed)
    products, step = map(np.asarray, outputs)
    found, bounds, _ = scanned(rounded, query)
    assert (products == found).all()
    np.testing.assert_allclose(step, bounds.step, rtol=1e-6)


def test_the_graph_is_sound_onnx_and_multiplies() -> None:
    """Any bytes by the standard; in ONNX Runtime those of the narrow range, on any processor."""
    generator = np.random.default_rng(2)
    for most, zero in ((127, 128), (NARROW.weights, NARROW.zero)):
        weights = generator.integers(-most, most + 1, size=(12, 70)).astype(np.int8)
        queries = generator.integers(1, 2 * zero, size=(5, 12)).astype(np.uint8)
        graph = product_graph(weights, zero)
        model = onnx.load_from_string(graph)
        onnx.checker.check_model(model, full_check=True)
        expected = (queries.astype(np.int64) - zero) @ weights.astype(np.int64)
        (reference,) = ReferenceEvaluator(model).run(None, {"queries": queries})
        np.testing.assert_array_equal(reference, expected)
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert (session.run(None, {"queries": queries})[0] == expected).all()


def test_two_products_of_the_narrow_range_always_fit_in_16_bits() -> None:
    largest = [2 * (span.zero + span.queries) * span.weights for span in (NARROW, WIDE)]
    assert largest == [2 * 181 * 90, 2 * 255 * 127]
    assert largest[0] <= 2**15 - 1 < 2 * 183 * 91


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("columns", [1, 4, 12, 36, 37, 68])
def test_the_extremes_of_a_range_are_multiplied_exactly(columns: int, threads: int) -> None:
    """All of one sign, where sums of neighbours are greatest, and signs at random."""
    generator = np.random.default_rng(columns)
    for span in {NARROW, exact_range(threads)}:
        signs = generator.choice([-1, 1], size=(columns, 1000))
        signs[:, :50], signs[:, 50:100] = 1, -1
        weights = (signs * span.weights).astype(np.int8)
        session = product_session(weights, span, threads)
        for count in (1, 2, 3, 4, 6, 9, 31, 64, 256):
            queries = generator.choice([-1, 1], size=(count, columns)) * span.queries
            queries[0], queries[-1] = span.queries, -span.queries
            rounded = (queries + span.zero).astype(np.uint8)
            (found,) = session.run(None, {"queries": rounded})
            assert np.array_equal(found, queries @ weights.astype(np.int64))


class Saturating:
    """Kernels that add two products in 16 bits, as some processors have, imitated."""

    def __init__(self, weights: NDArray[np.int8], span: ByteRange, threads: int) -> None:
        self.weights, self.zero = weights.astype(np.int64), span.zero

    def run(self, names: list[str], feeds: dict[str, NDArray[np.uint8]]) -> list[object]:
        queries = feeds["queries"].astype(np.int64)
        pairs = [
            np.clip(queries[:, i : i + 2] @ self.weights[i : i + 2], -(2**15), 2**15 - 1)
            for i in range(0, queries.shape[1], 2)
        ]
        return [np.sum(pairs, axis=0) - self.zero * self.weights.sum(axis=0)]


class Wrong(Saturating):
    """No product is right."""

    def run(self, names: list[str], feeds: dict[str, NDArray[np.uint8]]) -> list[object]:
        return [np.zeros((len(feeds["queries"]), self.weights.shape[1]))]


def test_a_machine_that_saturates_gets_the_narrow_range_or_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(quantised, "product_session", Saturating)
    assert exact_range() == NARROW
    monkeypatch.setattr(quantised, "product_session", Wrong)
    index, _ = table_of(tmp_path, np.zeros((4, LAYOUT.dimension)), np.zeros(4))
    with pytest.raises(InexactProducts):
        Int8Index(index, LAYOUT)


def test_an_index_encodes_as_the_encoder_does_to_the_bit(tmp_path: Path) -> None:
    """Also with columns that do not count, and queries that come encoded."""
    toy = toy_bundle(tmp_path / "toy", entities=700, relations=3, traits=2)
    generator = np.random.default_rng(5)
    with Engine.open(toy.path) as engine:
        loaded, layout = engine.loaded, engine.manifest.layout
        index = Int8Index(loaded.table, layout, 1, loaded.encoder)
        entities, relations = generator.integers(700, size=100), generator.integers(6, size=100)
        for priors in (True, False):
            heads = loaded.table.rows(entities)
            questions = loaded.questions(heads, relations, priors=priors)
            expected = questions.encoded()
            assert expected.vector[:, layout.priors].any() == priors
            assert index.encodes(questions, expected)
            for asked in (questions, expected):
                found = list(index.nearest(asked, 5, Exclusions.none(100), None))
                assert Query.join([part.query for part in found]).equals(expected)
        other = replace(expected, bias=expected.bias + 1)
        assert not index.encodes(questions, other)

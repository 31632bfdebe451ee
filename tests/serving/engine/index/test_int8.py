"""Byte products: exact as integers, and never further from the truth than they say."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from mulde.bundle.entity_table import Layout
from serving.engine.entity_table import EntityTable
from serving.engine.index import byte_product
from serving.engine.index.byte_product import (
    ByteProduct,
    InexactProducts,
    exact_range,
    product_session,
)
from serving.engine.index.int8 import Int8Index
from serving.engine.index.product_graph import NARROW, WIDE, ByteRange, product_graph
from serving.engine.index.quantised import QuantisedQuery, QuantisedTable
from serving.engine.scoring import Query
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


def quantised(index: EntityTable, span: ByteRange = WIDE) -> QuantisedTable:
    return QuantisedTable.of(index, LAYOUT, span, index.entities)


def integers(table: QuantisedTable, query: QuantisedQuery) -> NDArray[np.int64]:
    """<z, w> by numpy."""
    whole = query.bytes.astype(np.int64) - table.span.zero
    return whole @ table.weights.astype(np.int64)


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
    rounded, query = quantised(index, span), queries_of(generator, 30, scale)
    small = rounded.quantise(query)
    assert np.abs(rounded.weights.astype(np.int64)).max() <= span.weights
    assert np.abs(small.bytes.astype(np.int64) - span.zero).max() <= span.queries
    exact = query.vector.astype(np.float64) @ table.T
    rough = small.base[:, None] + small.step[:, None] * integers(rounded, small)
    assert (np.abs(rough - exact) <= small.loss[:, None] * (1 + 1e-9)).all()


def test_the_bound_is_near_the_loss(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(3000, LAYOUT.dimension))
    index, table = table_of(tmp_path, points, generator.normal(size=3000))
    rounded, query = quantised(index), queries_of(generator, 50, 2.0)
    small = rounded.quantise(query)
    rough = small.base[:, None] + small.step[:, None] * integers(rounded, small)
    lost = np.abs(rough - query.vector.astype(np.float64) @ table.T).max(axis=1)
    assert np.median(lost / small.loss) > 0.2


def test_a_floor_lets_through_every_row_that_reaches_the_product(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    points = generator.normal(size=(2000, LAYOUT.dimension))
    index, table = table_of(tmp_path, points, generator.normal(size=2000))
    rounded, query = quantised(index), queries_of(generator, 40, 1.0)
    small = rounded.quantise(query)
    products = integers(rounded, small)
    exact = query.vector.astype(np.float64) @ table.T
    for rank in (0, 9, 500, 1999):
        wanted = np.sort(exact, axis=1)[:, ::-1][:, rank]
        passed = products >= small.floors(wanted)[:, None]
        assert passed[exact >= wanted[:, None]].all()
    assert (products >= small.floors(np.full(40, -1e30))[:, None]).all()
    assert not (products >= small.floors(np.full(40, 1e30))[:, None]).any()


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_a_buffer_gives_the_products_of_any_number_of_queries(count: int) -> None:
    """Also after another number of queries used the same buffer."""
    generator = np.random.default_rng(count)
    weights = generator.integers(-90, 91, size=(12, 512)).astype(np.int8)
    product = ByteProduct(weights, NARROW, threads=1)
    assert product.most_queries == 16
    for size in (16, count, 3, count):
        queries = generator.integers(1, 182, size=(size, 12)).astype(np.uint8)
        expected = (queries.astype(np.int64) - NARROW.zero) @ weights.astype(np.int64)
        with product.run(queries) as found:
            assert np.array_equal(found, expected)


def test_no_more_buffers_exist_than_products_are_under_way() -> None:
    """A fifth concurrent product waits until a buffer is free."""
    product = ByteProduct(np.ones((4, 512), np.int8), NARROW, threads=1)
    queries = np.full((1, 4), NARROW.zero + 1, np.uint8)
    started, release = threading.Semaphore(0), threading.Event()

    def hold() -> int:
        with product.run(queries) as found:
            started.release()
            assert release.wait(20)
            return int(found[0, 0])

    with ThreadPoolExecutor(9) as pool:
        running = [pool.submit(hold) for _ in range(9)]
        most = min(4, os.cpu_count() or 1)
        for _ in range(most):
            assert started.acquire(timeout=20)
        assert not started.acquire(timeout=0.2)
        release.set()
        assert [one.result(20) for one in running] == [4] * 9


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
    assert NARROW.fits_16_bits
    assert 2 * 181 * 90 <= 2**15 - 1 < 2 * 183 * 91
    assert not WIDE.fits_16_bits


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
    monkeypatch.setattr(byte_product, "product_session", Saturating)
    assert exact_range() == NARROW
    monkeypatch.setattr(byte_product, "product_session", Wrong)
    index, _ = table_of(tmp_path, np.zeros((4, LAYOUT.dimension)), np.zeros(4))
    with pytest.raises(InexactProducts):
        Int8Index(index, LAYOUT)

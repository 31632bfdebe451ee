"""The mapped table: rows as they were written, and searches that miss nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.table.entity_table import Layout
from mulde.bundle.table.quantised_table import BITS, pack_quantised
from serving.engine.entity_table import EntityTable
from training.export.table.entity_table import write_quantised, write_table


@pytest.fixture(params=["fp16", "fp32", "int8", "int4"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[EntityTable, np.ndarray]:
    if request.param in BITS:
        generator = np.random.default_rng(0)
        spatial, (tails, heads) = generator.normal(size=(500, 10)), generator.normal(size=(2, 500))
        table, codec = pack_quantised(Layout(10), spatial, tails, heads, BITS[request.param])
        write_quantised(tmp_path / "entities.faiss", table, codec)
        return EntityTable(tmp_path / "entities.faiss", 500, 16), table
    dtype = np.float16 if request.param == "fp16" else np.float32
    table = np.random.default_rng(0).normal(size=(500, 16)).astype(dtype).astype(np.float32)
    write_table(tmp_path / "entities.faiss", table, request.param)
    return EntityTable(tmp_path / "entities.faiss", 500, 16), table


def test_rows_come_back_as_they_were_written(index: tuple[EntityTable, np.ndarray]) -> None:
    mapped, table = index
    rows = np.array([[3, 499], [0, 3]])
    assert (mapped.rows(rows).astype(np.float32) == table[rows]).all()
    assert (mapped.decode(10, 200) == table[10:200]).all()


def test_a_search_gives_the_greatest_products(index: tuple[EntityTable, np.ndarray]) -> None:
    mapped, table = index
    queries = np.random.default_rng(1).normal(size=(3, 16)).astype(np.float32)
    products, rows = mapped.search(queries, 20)
    exact = queries.astype(np.float64) @ table.T.astype(np.float64)
    assert (rows == np.argsort(-exact, axis=1)[:, :20]).all()
    assert products == pytest.approx(np.take_along_axis(exact, rows, axis=1), abs=1e-5)

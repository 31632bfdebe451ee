"""Codes beside the entity table, ``candidates.faiss``, for the kinds of index that have them.

They only name candidates, so they may lose what they like: every answer is scored from the table.

Shape letters: E entities, W width, C cells, n rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np

from mulde.typing import Float32, Float64
from training.export.table.entity_table import write_index

_DECODED_ROWS = 1 << 16
_ROWS_PER_CELL = 128
_MOST_SAMPLED = 1 << 18
"""Rows that cells are found from; with thousands of cells it is they that take the time."""
_ROUNDS = 15


class TableRows(Protocol):
    """A table that gives its rows, such as ``serving.engine.entity_table.EntityTable``."""

    entities: int
    width: int

    def decode(self, start: int, stop: int) -> Float32:
        """Rows ``start`` to ``stop``, [n, W]."""


def write_cells(path: Path, table: TableRows, weights: Float64, cells: int, seed: int = 0) -> None:
    """Codes of 8 bits in cells of rows that are near each other: kind ``ivf``.

    Args:
        path: the file.
        table: the rows; read in chunks, twice.
        weights: [W], what a column counts for when rows are compared (``column_weights``).
        cells: C.
        seed: of the clustering.

    Raises:
        BundleError: if the file cannot be written.
    """
    nearest, means = _cut(table, weights, cells, seed)
    quantiser = faiss.IndexFlatIP(table.width)
    quantiser.add(means)
    codec = faiss.ScalarQuantizer.QT_8bit
    index: Any = faiss.IndexIVFScalarQuantizer(
        quantiser, table.width, cells, codec, faiss.METRIC_INNER_PRODUCT, False
    )
    index.sq.train(_ranges(table))
    index.is_trained = True
    for start, rows in _chunks(table):
        _, cell = nearest.search(rows * weights.astype(np.float32), 1)
        numbers = np.arange(start, start + len(rows))
        pointers = (faiss.swig_ptr(part) for part in (rows, numbers, cell))
        index.add_core(len(rows), *pointers)
    write_index(index, path)


def _cut(table: TableRows, weights: Float64, cells: int, seed: int) -> tuple[Any, Float32]:
    """An index of the cells' middles in weighed columns, and the middles [C, W] in plain ones."""
    scale = weights.astype(np.float32)
    count = min(cells * _ROWS_PER_CELL, max(_MOST_SAMPLED, 32 * cells))
    sample = _sample(table, count, seed) * scale
    clustering = faiss.Kmeans(
        table.width,
        cells,
        niter=_ROUNDS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=_ROWS_PER_CELL,
    )
    clustering.train(sample)
    weighed: Any = clustering.centroids
    middles = np.divide(weighed, scale, out=np.zeros_like(weighed), where=scale > 0)
    return clustering.index, middles


def _ranges(table: TableRows) -> Float32:
    """Least and greatest number of each column, [2, W]; trained on them, a codec clips nothing."""
    low, high = np.full(table.width, np.inf), np.full(table.width, -np.inf)
    for _, rows in _chunks(table):
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    return np.stack([low, high]).astype(np.float32)


def _sample(table: TableRows, count: int, seed: int) -> Float32:
    """About ``count`` rows, every one as likely as another."""
    if count >= table.entities:
        return table.decode(0, table.entities)
    generator, share = np.random.default_rng(seed), count / table.entities
    parts = [rows[generator.random(len(rows)) < share] for _, rows in _chunks(table)]
    return np.concatenate(parts)


def _chunks(table: TableRows) -> Iterator[tuple[int, Float32]]:
    for start in range(0, table.entities, _DECODED_ROWS):
        yield start, table.decode(start, min(start + _DECODED_ROWS, table.entities))

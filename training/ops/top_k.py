"""The k largest inner products of queries with a table, exactly or through an IVF index.

Exact on a CPU: products are formed in tiles that stay in the cache, and only those above a
threshold leave it. The threshold of a query comes from a sample of the table and lets about
``_MARGIN`` k products pass; a query with fewer than k of them is scored again in full.

Shape letters: B queries, E rows of the table, W width, C products that pass.
"""

from __future__ import annotations

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulde.runs import run_places

_QUERIES, _TILE = 256, 4096
"""A tile of products is 4 MiB."""
_SAMPLED = 16
"""One of so many rows is sampled for thresholds."""
_MARGIN = 1.6
IVF_FROM = 1_000_000
"""Rows from which an IVF index takes the place of the exact search."""
PROBES = 64
"""IVF lists that a query reads."""


class TopK:
    """Rows of the k largest inner products with a table [E, W].

    Args:
        table: on any device; it must not change.
        k: at most E.
        exact: None chooses an IVF index on a CPU from ``IVF_FROM`` rows on.
    """

    def __init__(self, table: Tensor, k: int, exact: bool | None = None) -> None:
        self._table, self._k = table, k
        self._index: faiss.IndexIVFFlat | None = None
        on_cpu = table.device.type == "cpu"
        if on_cpu and (len(table) >= IVF_FROM if exact is None else not exact):
            self._index = _ivf(table)
        self._wanted = int(_MARGIN * k / _SAMPLED) + 1
        self._by_tiles = on_cpu and len(table) > max(2 * _TILE, 4 * _SAMPLED * self._wanted)
        self._tiles = [tile.T.contiguous() for tile in table.split(_TILE)] if on_cpu else []

    def __call__(self, queries: Tensor) -> Tensor:
        """Return rows [B, k] int64 of queries [B, W], in no particular order."""
        if self._index is not None:
            rows = self._index.search(queries.numpy(), self._k)[1]
            return _completed(torch.from_numpy(rows), len(self._table))
        if not self._by_tiles:
            return (queries @ self._table.T).topk(self._k, sorted=False).indices
        return torch.cat([self._tiled(part) for part in queries.split(_QUERIES)])

    def _tiled(self, queries: Tensor) -> Tensor:
        sample = queries @ self._table[::_SAMPLED].T
        threshold = sample.topk(self._wanted).values[:, -1:]
        owners, rows, values = [], [], []
        for number, tile in enumerate(self._tiles):
            scores = queries @ tile
            passed = np.flatnonzero((scores >= threshold).numpy())
            values.append(scores.numpy().ravel()[passed])
            owner, column = np.divmod(passed, tile.shape[1])
            owners.append(owner)
            rows.append(column + number * _TILE)
        owner, row = np.concatenate(owners), np.concatenate(rows)
        chosen, short = _best(owner, row, np.concatenate(values), len(queries), self._k)
        if len(short):
            again = queries[short] @ self._table.T
            chosen[short] = again.topk(self._k, sorted=False).indices
        return chosen


def _best(
    owner: NDArray[np.int64],
    row: NDArray[np.int64],
    value: NDArray[np.float32],
    queries: int,
    k: int,
) -> tuple[Tensor, NDArray[np.int64]]:
    """Rows [B, k] of the largest of C values, and the queries that have fewer than k values."""
    count = np.bincount(owner, minlength=queries)
    order = np.argsort(owner, kind="stable")
    owner = owner[order]
    place = run_places(0, count)
    width = max(int(count.max()), k)
    values = np.full((queries, width), -np.inf, np.float32)
    rows = np.zeros((queries, width), np.int64)
    values[owner, place], rows[owner, place] = value[order], row[order]
    top = torch.from_numpy(values).topk(k, sorted=False).indices
    return torch.from_numpy(rows).gather(1, top), np.flatnonzero(count < k)


def _ivf(table: Tensor) -> faiss.IndexIVFFlat:
    """An inner-product index of 4 sqrt(E) lists, trained on 64 rows a list."""
    entities, width = table.shape
    lists = int(4 * entities**0.5)
    rows: NDArray[np.float32] = np.ascontiguousarray(table.numpy())
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = 5, 64
    index.train(rows)
    index.add(rows)
    index.nprobe = PROBES
    return index


def _completed(rows: Tensor, entities: int) -> Tensor:
    """The same rows; places that the index left empty get evenly spread rows."""
    spread = torch.arange(rows.shape[1]) * (entities // rows.shape[1])
    return torch.where(rows < 0, spread, rows)

"""Exhaustive search for a batch: a tiled matrix product that keeps block maxima only.

Selecting the best of E products costs more than computing them, unless few are looked at. So each
tile of the product is folded, while it is in the cache, into the maxima of small blocks of rows.
The best n rows lie in the n blocks with the greatest maxima, and those blocks are found by the
same step once more, over blocks of blocks. The product itself is thrown away.

Shape letters: N rows of the matrix, K columns, B queries, T rows of a tile, S rows of a block,
L blocks, C blocks chosen for a query.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TILE = 1024
_BLOCK = 8
_GROUP = 16
_STRIDE = _TILE // _BLOCK

Tiles = Callable[[int, int], NDArray[np.float32]]


@dataclass(frozen=True)
class Maxima:
    """The greatest product in each block, for each query.

    A block is rows ``j, j + T/S, j + 2 T/S, ...`` of a tile: then a tile folds in S long steps.

    Attributes:
        values: float32 [L, B]; minus infinity where a block holds nothing that may be chosen.
        size: N.
    """

    values: NDArray[np.float32]
    size: int

    def best(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The ``count`` blocks with the greatest maxima of each query.

        Returns:
            blocks [B, C], unordered, C = min(count, L); and their least maximum [B], which nothing
            outside them exceeds (minus infinity where nothing is outside them).
        """
        blocks, queries = self.values.shape
        if count >= blocks:
            every = np.broadcast_to(np.arange(blocks), (queries, blocks))
            return every, np.full(queries, -np.inf, dtype=np.float32)
        groups = blocks // _GROUP
        folded = np.maximum.reduce(self.values.reshape(_GROUP, groups, queries), axis=0)
        chosen = _greatest(np.ascontiguousarray(folded.T), count)
        members = (chosen[:, :, None] + np.arange(_GROUP) * groups).reshape(queries, -1)
        values = self.values[members, np.arange(queries)[:, None]]
        places = _greatest(values, count)
        best = np.take_along_axis(members, places, axis=1)
        return best, np.take_along_axis(values, places, axis=1).min(axis=1)

    def reaching(
        self, which: NDArray[np.integer], thresholds: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Blocks that hold a product of at least ``thresholds`` [n], for the queries ``which`` [n].

        Returns:
            positions into ``which``, and blocks, as two arrays of one length.
        """
        blocks, places = np.nonzero(self.values[:, which] >= thresholds)
        return places, blocks

    def rows(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows [..., S] of blocks [...]; a row of N or more does not exist."""
        tile, lane = np.divmod(blocks, _STRIDE)
        return (tile * _TILE + lane)[..., None] + np.arange(_BLOCK) * _STRIDE


def block_of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The block that holds each row."""
    return rows // _TILE * _STRIDE + rows % _TILE % _STRIDE


def lane_of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each row within its block, 0 to S - 1."""
    return rows % _TILE // _STRIDE


def block_maxima(
    tiles: Tiles,
    size: int,
    queries: NDArray[np.float32],
    skipped: tuple[NDArray[np.integer], NDArray[np.integer]],
) -> Maxima:
    """Multiply a matrix [N, K] with queries [B, K] and keep the block maxima.

    Args:
        tiles: gives rows ``start`` to ``stop`` of the matrix.
        size: N.
        queries: [B, K].
        skipped: pairs that may not be chosen: rows, ascending, and the queries they belong to.
    """
    count = len(queries)
    columns = np.ascontiguousarray(queries.T)
    rows, owners = skipped
    bounds = np.searchsorted(rows, np.arange(0, size + _TILE, _TILE))
    buffer = np.empty((_TILE, count), dtype=np.float32)
    values = np.empty((_blocks(size), count), dtype=np.float32)
    for number, start in enumerate(range(0, size, _TILE)):
        stop = min(start + _TILE, size)
        np.matmul(tiles(start, stop), columns, out=buffer[: stop - start])
        buffer[stop - start :] = -np.inf
        part = slice(bounds[number], bounds[number + 1])
        buffer[rows[part] - start, owners[part]] = -np.inf
        target = values[number * _STRIDE : (number + 1) * _STRIDE]
        np.maximum.reduce(buffer.reshape(_BLOCK, _STRIDE, count), axis=0, out=target)
    return Maxima(values, size)


def _blocks(size: int) -> int:
    """L: whole tiles, and whole groups of blocks."""
    return -(-size // _TILE) * _STRIDE


def _greatest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Places of the ``count`` greatest values of each row [B, min(count, n)], unordered."""
    columns = values.shape[1]
    if count >= columns:
        return np.broadcast_to(np.arange(columns), values.shape)
    places: NDArray[np.int64] = np.argpartition(values, columns - count, axis=1)[:, -count:]
    return places

"""Index type ``int8``: the exact integer products of every row in bytes (``scan.py``).

The k-th greatest of a query's N products is at least the k-th greatest maximum of blocks of them.
What rounding may lose comes off, and rows whose product reaches the result are the candidates. They
are looked for in the blocks whose maximum reaches it, so that all products are read once.

Block j of L holds the places j, j + L, j + 2 L, ..., so that the maxima of all blocks take a few
long steps of contiguous numbers.

Shape letters: B queries, b of one scan, E entities, N of them padded, L blocks, n pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from mulde.bundle.table.entity_table import Layout
from mulde.typing import Float64, Products, Rows
from serving.engine.entity_table import EntityTable
from serving.engine.index.base import Asked, Candidates, Exclusions
from serving.engine.index.quantised import (
    LOWEST,
    ProductBounds,
    exact_range,
    quantise,
)
from serving.engine.index.scan import JoinableEncoder, Scans
from serving.engine.scoring import HeadQueries, Query

_PADDED = 512
_BLOCK = 16
"""Products of a block; fewer where k is large."""
_JOINED_BLOCKS = 8
"""Blocks whose greatest maximum stands for them while the k-th greatest is looked for."""
_MAXIMA_PER_ANSWER = 4
_MOST_PAIRS = 1 << 17
_TRIED = 16


class Int8Index:
    """A table in bytes; [E, C + 4] of them, in memory. See ``CandidateIndex``."""

    narrows = is_top = True

    def __init__(
        self,
        table: EntityTable,
        layout: Layout,
        threads: int = 1,
        encoder: JoinableEncoder | None = None,
    ) -> None:
        """Round the table.

        Args:
            table: the rows.
            layout: their columns.
            threads: for one scan.
            encoder: of the questions that will be asked; None where all queries come encoded.

        Raises:
            InexactProducts: if this machine's byte products are not exact.
        """
        self._entities = table.entities
        self._table = quantise(table, layout, exact_range(threads), _padded(table.entities))
        self._scans = Scans(self._table, layout.width, threads, encoder)

    def encodes(self, questions: HeadQueries, expected: Query) -> bool:
        """Return whether scans encode a sample as it is expected to the bit, alone and together."""
        step, size = self._scans.most_queries, len(questions)
        alone = [slice(one, one + 1) for one in np.linspace(0, size - 1, _TRIED).astype(int)]
        for part in [slice(start, start + step) for start in range(0, size, step)] + alone:
            scan = self._scans.start(questions.take(part))
            self._scans.end(scan)
            if not scan.query.equals(expected.take(part)):
                return False
        return True

    def nearest(
        self, asked: Asked, k: int, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """See ``CandidateIndex``."""
        return self._scan(asked, k, None, excluded, allowed)

    def above(
        self, asked: Asked, floors: Float64, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """See ``CandidateIndex``."""
        return self._scan(asked, 1, floors, excluded, allowed)

    def _scan(
        self,
        asked: Asked,
        k: int,
        floors: Float64 | None,
        excluded: Exclusions,
        allowed: Rows | None,
    ) -> Iterator[Candidates]:
        """Return the rows that reach ``floors`` [B], or those of the k greatest products."""
        size, step = len(asked), self._scans.most_queries
        for start in range(0, size, step):
            stop = min(start + step, size)
            scan = self._scans.start(asked if size <= step else asked.take(slice(start, stop)))
            try:
                products = self._answers(scan.products, excluded.take(start, stop), allowed)
                maxima = _block_maxima(products, k)
                bounds = ProductBounds(self._table, scan.query.vector, *scan.steps)
                if floors is None:
                    wanted = np.maximum(_kth_at_most(maxima, k) - scan.slack, LOWEST + 1)
                else:
                    wanted = bounds.floors(floors[start:stop])
                reached, width = _reaching(products, maxima, wanted), products.shape[1]
                query = scan.query
            finally:
                self._scans.end(scan)
            for first, last, pairs in _parts(reached, stop - start, width):
                owners, rows = _owned(pairs, width, stop - start)
                if allowed is not None:
                    rows = allowed[rows]
                if last - first == len(query):
                    unseen = partial(bounds.most_below, wanted)
                    yield Candidates(start, query, owners, rows, unseen)
                    continue
                unseen = partial(bounds.take(first, last).most_below, wanted[first:last])
                part = query.take(slice(first, last))
                yield Candidates(start + first, part, owners - first, rows, unseen)

    def _answers(self, products: Products, excluded: Exclusions, allowed: Rows | None) -> Products:
        """Return the products of rows that may be answers; ``LOWEST`` in other places."""
        products[:, self._entities :] = LOWEST
        if len(excluded.rows):
            products[excluded.owners, excluded.rows] = LOWEST
        if len(excluded.everywhere):
            products[:, excluded.everywhere] = LOWEST
        return products if allowed is None else _narrowed(products, allowed)


def _narrowed(products: Products, allowed: Rows) -> Products:
    """Return the products of the allowed rows, padded."""
    narrowed = np.full((len(products), _padded(len(allowed))), LOWEST, np.int32)
    products.take(allowed, axis=1, out=narrowed[:, : len(allowed)])
    return narrowed


def _padded(size: int) -> int:
    return -(-size // _PADDED) * _PADDED


def _block_maxima(products: Products, k: int) -> Products:
    """Return the greatest product of each block, [b, L]."""
    queries, size = products.shape
    block = _BLOCK
    while block > 1 and size < _MAXIMA_PER_ANSWER * block * k:
        block //= 2
    maxima: Products = np.maximum.reduce(products.reshape(queries, block, -1), axis=1)
    return maxima


def _kth_at_most(maxima: Products, k: int) -> Products:
    """Return at most the k-th greatest product of each query, [b].

    ``LOWEST`` where there are fewer than k.
    """
    queries, size = maxima.shape
    joined = _JOINED_BLOCKS
    while joined > 1 and (size < _MAXIMA_PER_ANSWER * joined * k or size % joined):
        joined //= 2
    fewer = np.maximum.reduce(maxima.reshape(queries, joined, -1), axis=1)
    place = fewer.shape[1] - k
    if place < 0:
        return np.full(queries, LOWEST, np.int32)
    fewer.partition(place, axis=1)
    kth: Products = fewer[:, place]
    return kth


def _reaching(products: Products, maxima: Products, wanted: Products) -> Rows:
    """Return the places [n] in flat products that reach ``wanted`` [b], query by query."""
    blocks, size = maxima.shape[1], products.shape[1]
    (first,) = (maxima >= wanted[:, None]).reshape(-1).nonzero()
    if len(products) > 1:
        owners = first // blocks
        first += owners * (size - blocks)
        wanted = wanted.take(owners)[:, None]
    places = first[:, None] + np.arange(0, size, blocks)
    found: Rows = places[products.reshape(-1).take(places) >= wanted]
    return found


def _owned(pairs: Rows, width: int, queries: int) -> tuple[Rows, Rows]:
    """Return queries and rows of flat places [n]."""
    if queries == 1:
        return np.zeros(len(pairs), np.int64), pairs
    owners, rows = np.divmod(pairs, width)
    return owners, rows


def _parts(reached: Rows, queries: int, width: int) -> Iterator[tuple[int, int, Rows]]:
    """Return first and last query and the pairs of parts of at most 131,072, or of one query.

    Args:
        reached: [n], query * width + place, query by query.
        queries: b.
        width: N.
    """
    if len(reached) <= _MOST_PAIRS:
        yield 0, queries, reached
        return
    ends = reached.searchsorted(np.arange(queries + 1) * width)
    for one in range(queries):
        yield one, one + 1, reached[ends[one] : ends[one + 1]]

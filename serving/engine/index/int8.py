"""Index type ``int8``: the exact integer products of every row in bytes (``quantised.py``).

The large ones among a query's N products are found by the maxima of blocks. Block j of L holds the
places j, j + L, j + 2 L, ..., so that the maxima of all blocks take a few long steps of contiguous
numbers. The k-th greatest maximum is at most the k-th greatest product; what rounding may lose
comes off it, and only blocks whose maximum reaches the result are looked into.

Shape letters: B queries, b of one run, E entities, N of them padded, L blocks, n pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from mulde.bundle.entity_table import Layout
from mulde.typing import Float64, Rows
from serving.engine.exclusions import Exclusions
from serving.engine.index.base import Candidates
from serving.engine.index.byte_product import ByteProduct, exact_range
from serving.engine.index.product_graph import LOWEST, Products
from serving.engine.index.quantised import QuantisedTable, Table
from serving.engine.scoring import Query

_PADDED = 512
_BLOCK = 32
_BLOCKS_PER_ANSWER = 2
_FOLDED_PER_ANSWER = 8
_MOST_PAIRS = 1 << 17

Reached = tuple[int, int, Rows, Rows]
"""First and last query, and for each pair its query and its place."""


class Int8Index:
    """A table in bytes; [E, C + 4] of them, in memory. See ``CandidateIndex``."""

    narrows = is_top = True

    def __init__(self, table: Table, layout: Layout, threads: int = 1) -> None:
        """Round the table.

        Args:
            table: the rows.
            layout: their columns.
            threads: for one run.

        Raises:
            InexactProducts: if this machine's byte products are not exact.
        """
        self._entities, span = table.entities, exact_range(threads)
        quantised = QuantisedTable.of(table, layout, span, _padded(table.entities))
        self._product = ByteProduct(quantised.weights, span, threads)
        self._quantise = quantised.without_weights().quantise

    def nearest(
        self, query: Query, k: int, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """See ``CandidateIndex``."""
        return self._scan(query, k, None, excluded, allowed)

    def above(
        self, query: Query, floors: Float64, excluded: Exclusions, allowed: Rows | None
    ) -> Iterator[Candidates]:
        """See ``CandidateIndex``."""
        return self._scan(query, 1, floors, excluded, allowed)

    def _scan(
        self,
        query: Query,
        k: int,
        floors: Float64 | None,
        excluded: Exclusions,
        allowed: Rows | None,
    ) -> Iterator[Candidates]:
        """Return the rows that reach ``floors`` [B], or those of the k greatest products."""
        whole, step = self._quantise(query), self._product.most_queries
        for start in range(0, len(query), step):
            stop = min(start + step, len(query))
            quantised = whole.take(start, stop)
            wanted = None if floors is None else quantised.floors(floors[start:stop])
            with self._product.run(quantised.bytes) as products:
                products[:, self._entities :] = LOWEST
                _exclude(products, excluded.take(start, stop))
                if allowed is not None:
                    products = _narrowed(products, allowed)
                maxima = _maxima_of(products, k)
                if wanted is None:
                    wanted = quantised.safe(_kth_at_most(maxima, k))
                found = _reaching(products, maxima, wanted)
            for first, last, owners, places in found:
                rows = places if allowed is None else allowed[places]
                unseen = partial(quantised.take(first, last).most_below, wanted[first:last])
                yield Candidates(start + first, start + last, owners + start, rows, unseen)


def _exclude(products: Products, excluded: Exclusions) -> None:
    if len(excluded.rows):
        products[excluded.owners, excluded.rows] = LOWEST
    if len(excluded.everywhere):
        products[:, excluded.everywhere] = LOWEST


def _narrowed(products: Products, allowed: Rows) -> Products:
    """Return the products of the allowed rows, padded."""
    narrowed = np.full((len(products), _padded(len(allowed))), LOWEST, np.int32)
    products.take(allowed, axis=1, out=narrowed[:, : len(allowed)])
    return narrowed


def _padded(size: int) -> int:
    return -(-size // _PADDED) * _PADDED


def _maxima_of(products: Products, k: int) -> Products:
    """Return the maxima [b, L] of blocks of products [b, N], small enough for k answers."""
    block = _BLOCK
    while block > 1 and products.shape[1] < _BLOCKS_PER_ANSWER * block * k:
        block //= 2
    return _folded(products, block)


def _folded(products: Products, block: int) -> Products:
    maxima: Products = np.maximum.reduce(products.reshape(len(products), block, -1), axis=1)
    return maxima


def _kth_at_most(maxima: Products, k: int) -> Products:
    """Return at most the k-th greatest product of each query, [b]; ``LOWEST`` for fewer than k."""
    blocks = maxima.shape[1]
    fold = 1
    while fold < _PADDED // _BLOCK and blocks >= 2 * fold * _FOLDED_PER_ANSWER * k:
        fold *= 2
    coarse = _folded(maxima, fold)
    place = coarse.shape[1] - k
    if place < 0:
        return np.full(len(maxima), LOWEST, np.int32)
    kth: Products = np.partition(coarse, place, axis=1)[:, place]
    return kth


def _reaching(products: Products, maxima: Products, floors: Products) -> list[Reached]:
    """Return the places whose product is at least the floor of its query [b].

    Returns:
        Parts of at most 131,072 products that were looked at, or of one query.
    """
    blocks = maxima.shape[1]
    (hits,) = (maxima >= floors[:, None]).reshape(-1).nonzero()
    block = products.shape[1] // blocks
    if len(hits) * block > _MOST_PAIRS and len(products) > 1:
        middle = len(products) // 2
        halves = slice(0, middle), slice(middle, None)
        first, second = (_reaching(products[h], maxima[h], floors[h]) for h in halves)
        return first + [_moved(part, middle) for part in second]
    return [(0, len(products), *_pairs(products, hits, blocks, floors))]


def _moved(part: Reached, by: int) -> Reached:
    first, last, owners, places = part
    return first + by, last + by, owners + by, places


def _pairs(products: Products, hits: Rows, blocks: int, floors: Products) -> tuple[Rows, Rows]:
    """Return queries and places [n] of the products that reach the floor in the blocks hit."""
    # On flat arrays, which numpy searches and gathers several times faster.
    size = products.shape[1]
    at, block = np.divmod(hits, blocks)
    places = (at * size + block)[:, None] + np.arange(0, size, blocks)
    reached = products.reshape(-1).take(places) >= floors.take(at)[:, None]
    owners, places = np.divmod(places[reached], size)
    return owners, places

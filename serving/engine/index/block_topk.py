"""Products of some queries with every candidate, folded so that the great ones are found quickly.

Shape letters: B queries, N candidates, L blocks of them, n queries or pairs.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.engine.encoder import Query
from serving.engine.exclusions import Excluded, Rows
from serving.engine.index.single_block_topk import BLOCK, LoneView

Array = NDArray[np.float64]
Products = NDArray[Any]

_PAIRS = 5 << 19
_TILE = 16
_MOST_QUERIES = 256


class Looks(Protocol):
    """Queries as a table wants them, with a bound on what its products lose (``scan.Looks``)."""

    def take(self, which: NDArray[np.integer]) -> Looks:
        """Some of the queries."""

    def floors(self, products: Array) -> Products:
        """Rough products [B] that rows reach whose exact product is at least ``products`` [B]."""

    def safe(self, kth: Products) -> Products:
        """Rough products [B] that rows with one of the k greatest exact products reach.

        Args:
            kth: [B], at most the k-th greatest rough product.
        """

    def most_below(self, floors: Products) -> Array:
        """Exact products [B] that rows below ``floors`` [B] do not exceed."""


class Table(Protocol):
    """Every row in a form that is multiplied quickly.

    Attributes:
        size: E.
        lowest: a product below all others.
    """

    size: int
    lowest: Any

    def look(self, query: Query) -> Any:
        """Queries [B] as the table wants them."""

    def products(self, looks: Any) -> Products:
        """Rough products [B, N], N a multiple of 64, lowest beyond E."""


class Exhaustive:
    """Candidates among all rows: kinds ``int8`` and ``fp32``."""

    narrows = True

    def __init__(self, table: Table) -> None:
        """Search ``table``."""
        self._table = table
        fitting = _PAIRS // table.size // _TILE * _TILE
        self.queries = min(max(fitting, 1), _MOST_QUERIES)

    def look(self, query: Query, excluded: Excluded, allowed: Rows | None) -> BlockView | LoneView:
        """See ``Candidates.look``."""
        looks = self._table.look(query)
        products, rows = self._table.products(looks), None
        lowest = self._table.lowest
        if allowed is not None:
            padding = -len(allowed) % BLOCK
            rows = np.concatenate([allowed, np.full(padding, self._table.size)])
            products = products[:, rows]
        if len(excluded.rows):
            owners, places = excluded.within(allowed)
            products[owners, places] = lowest
        if len(query) == 1:
            return LoneView(looks, products[0], rows, lowest)
        return BlockView(looks, products, rows, lowest)


class BlockView:
    """See ``candidates.View``.

    Block j holds the places j, j + L, j + 2 L, ..., so that folding takes few long steps.
    """

    is_top = True

    def __init__(self, looks: Looks, products: Products, rows: Rows | None, lowest: Any) -> None:
        """Fold.

        Args:
            looks: the queries.
            products: [B, N], N a multiple of the block's size; lowest for what is not allowed.
            rows: [N], the row at each place; None where places are rows.
            lowest: see ``Table``.
        """
        self._looks, self._products, self._rows = looks, products, rows
        self._lowest = lowest
        folded = products.reshape(len(products), BLOCK, -1)
        self._maxima: Products = np.maximum.reduce(folded, axis=1)
        self._floors: Products = self._maxima[:, 0]

    def fetch(self, k: int) -> tuple[Rows, Rows]:
        """See ``View.fetch``."""
        self._floors = self._looks.safe(self._least(k))
        return self._reaching(np.arange(len(self._maxima)), self._floors)

    def unseen(self) -> Array:
        """See ``View.unseen``."""
        return self._looks.most_below(self._floors)

    def reach(self, which: Rows, floors: Array) -> tuple[Rows, Rows]:
        """See ``View.reach``."""
        return self._reaching(which, self._looks.take(which).floors(floors))

    def _least(self, k: int) -> Products:
        """At most the k-th greatest product of each query, [B]; lowest if that is not known."""
        blocks = self._maxima.shape[1]
        if k > blocks:
            return np.full(len(self._maxima), self._lowest, dtype=self._maxima.dtype)
        sorted_in_part = self._maxima.copy()
        sorted_in_part.partition(blocks - k, axis=1)
        kth: Products = sorted_in_part[:, blocks - k]
        return kth

    def _reaching(self, which: Rows, floors: Products) -> tuple[Rows, Rows]:
        """Pairs (query, row) whose product is at least ``floors`` [n], of queries ``which`` [n]."""
        size, blocks = self._products.shape[1], self._maxima.shape[1]
        within, products = np.arange(0, size, blocks), self._products.reshape(-1)
        maxima = self._maxima if len(which) == len(self._maxima) else self._maxima[which]
        # Everything on flat arrays, which numpy searches and gathers several times faster.
        (flat,) = (maxima >= floors[:, None]).reshape(-1).nonzero()
        at, block = np.divmod(flat, blocks)
        places = (which[at] * size + block)[:, None] + within
        reached = products.take(places) >= floors.take(at)[:, None]
        owners, places = np.divmod(places.reshape(-1)[reached.reshape(-1)], size)
        return owners, places if self._rows is None else self._rows[places]

"""Byte products of some queries, folded into blocks so that the great ones are found quickly.

Shape letters: B queries, N candidates, L blocks of them, n queries or pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.engine.excluded import Excluded, Rows
from serving.engine.scan import LOWEST, Looks, Products, Scan

_BLOCK = 16


@dataclass(frozen=True)
class View:
    """Byte products of some queries with their candidates, folded into blocks.

    Block j holds the places j, j + L, j + 2 L, ..., so that folding takes few long steps.

    Attributes:
        products: [B, N], N a multiple of the block's size; LOWEST for what may not be chosen.
        maxima: [B, L], the greatest product in each block.
        rows: [N], the row at each place; None where places are rows.
    """

    products: Products
    maxima: Products
    rows: Rows | None

    @classmethod
    def of(cls, scan: Scan, looks: Looks, excluded: Excluded, allowed: Rows | None) -> View:
        """Multiply, and leave out what may not be chosen."""
        products, rows = scan.products(looks), None
        if allowed is not None:
            padding = -len(allowed) % _BLOCK
            rows = np.concatenate([allowed, np.full(padding, scan.size)])
            products = products[:, rows]
        if len(excluded.rows):
            owners, places = excluded.within(allowed)
            products[owners, places] = LOWEST
        folded = products.reshape(len(products), _BLOCK, -1)
        return cls(products, np.maximum.reduce(folded, axis=1), rows)

    def least(self, k: int) -> Products:
        """At most the k-th greatest product of each query, [B]; LOWEST if that is not known."""
        blocks = self.maxima.shape[1]
        if k > blocks:
            return np.full(len(self.maxima), LOWEST, dtype=np.int32)
        sorted_in_part = self.maxima.copy()
        sorted_in_part.partition(blocks - k, axis=1)
        kth: Products = sorted_in_part[:, blocks - k]
        return kth

    def reaching(self, which: Rows, floors: Products) -> tuple[Rows, Rows]:
        """Pairs (query, row) whose product is at least ``floors`` [n], of queries ``which`` [n]."""
        size, blocks = self.products.shape[1], self.maxima.shape[1]
        maxima = self.maxima if len(which) == len(self.maxima) else self.maxima[which]
        # Everything on flat arrays, which numpy searches and gathers several times faster.
        (flat,) = (maxima >= floors[:, None]).reshape(-1).nonzero()
        at, block = np.divmod(flat, blocks)
        places = (which[at] * size + block)[:, None] + np.arange(0, size, blocks)
        reached = self.products.reshape(-1).take(places) >= floors.take(at)[:, None]
        owners, places = np.divmod(places.reshape(-1)[reached.reshape(-1)], size)
        return owners, places if self.rows is None else self.rows[places]

"""Products of one query with every candidate: ``view.BlockView`` without what several need.

Most of the time of one query goes into calls, not into numbers; so there are few of them.

Shape letters: N candidates, L blocks of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.engine.exclusions import Rows

Array = NDArray[np.float64]

BLOCK = 16


class LoneView:
    """See ``candidates.View``.

    Block j holds the places j, j + L, j + 2 L, ..., so that folding takes few long steps.
    """

    is_top = True

    def __init__(self, looks: Any, products: NDArray[Any], rows: Rows | None, lowest: Any) -> None:
        """Fold.

        Args:
            looks: the query (``view.Looks``).
            products: [N], N a multiple of the block's size; lowest for what is not allowed.
            rows: [N], the row at each place; None where places are rows.
            lowest: see ``view.Table``.
        """
        self._looks, self._products, self._rows, self._lowest = looks, products, rows, lowest
        self._maxima: NDArray[Any] = np.maximum.reduce(products.reshape(BLOCK, -1), axis=0)
        self._floor: Any = None

    def fetch(self, k: int) -> tuple[Rows, Rows]:
        """See ``View.fetch``."""
        self._floor = self._looks.safe(self._least(k))
        return self._reaching(self._floor)

    def unseen(self) -> Array:
        """See ``View.unseen``."""
        most: Array = self._looks.most_below(self._floor)
        return most

    def reach(self, which: Rows, floors: Array) -> tuple[Rows, Rows]:
        """See ``View.reach``."""
        return self._reaching(self._looks.take(which).floors(floors))

    def _least(self, k: int) -> NDArray[Any]:
        """At most the k-th greatest product, [1]; lowest if that is not known."""
        place = len(self._maxima) - k
        if place < 0:
            return np.array([self._lowest], self._maxima.dtype)
        sorted_in_part = self._maxima.copy()
        sorted_in_part.partition(place)
        return sorted_in_part[place : place + 1]

    def _reaching(self, floor: Any) -> tuple[Rows, Rows]:
        """Pairs of the query and each row whose product is at least ``floor``."""
        blocks = len(self._maxima)
        (block,) = (self._maxima >= floor).nonzero()
        places = (block + _steps(blocks)).reshape(-1)
        places = places[self._products.take(places) >= floor]
        owners = np.zeros(len(places), dtype=np.int64)
        return owners, places if self._rows is None else self._rows[places]


@lru_cache(maxsize=4)
def _steps(blocks: int) -> Rows:
    """From the first place of a block to each of its places, [BLOCK, 1]."""
    return np.arange(0, BLOCK * blocks, blocks)[:, None]

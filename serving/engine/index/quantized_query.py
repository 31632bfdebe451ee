"""What rounding to bytes may have lost of products, and what follows for rough ones.

One query has plain numbers where several have arrays: the same formulas, at a tenth of the cost of
arrays of one number.

Shape letters: B queries, J columns of bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Products = NDArray[np.int32]

LOWEST = int(np.iinfo(np.int32).min)
"""The product of what may not be chosen."""

SLACK = 1e-12
"""Far above what float64 loses when these bounds are computed, far below the bounds."""

_ROUNDING = 3.0


class Looks:
    """Queries for the scan.

    Attributes:
        bytes: uint8 [B, J].
        step: [B], t, above 0; of one query a number, and so the others.
        base: [B], <q, m>.
        loss: [B], the bound on |loss|.
    """

    __slots__ = ("base", "bytes", "loss", "step")

    def __init__(self, rounded: NDArray[np.uint8], step: Any, base: Any, loss: Any) -> None:
        """See the attributes."""
        self.bytes, self.step, self.base, self.loss = rounded, step, base, loss

    def take(self, which: NDArray[np.integer]) -> Looks:
        """Some of the queries."""
        if len(self.bytes) == 1:
            return self
        return Looks(self.bytes[which], self.step[which], self.base[which], self.loss[which])

    def floors(self, products: Array) -> Products:
        """Whole numbers [B] that rows with an exact product of at least ``products`` [B] reach."""
        wanted = (products - self.base - self.loss) / self.step
        slack = 1.0 + SLACK * np.abs(products / self.step)
        return _whole(wanted - slack)

    def safe(self, kth: Products) -> Any:
        """Whole numbers [B] that every row with one of the k greatest exact products reaches.

        Args:
            kth: [B], at most the k-th greatest whole number.

        Returns:
            [B]; of one query a number.
        """
        # The k-th may have gained the loss, and others may have lost it; rounding costs a little.
        below = 2 * self.loss / self.step + _ROUNDING
        if len(kth) == 1:
            return int(min(max(int(kth[0]) - float(below), LOWEST + 1), -(LOWEST + 1)))
        return _whole(kth - below)

    def most_below(self, floors: Any) -> Array:
        """Exact products [B] that rows below ``floors`` [B] do not exceed."""
        most = self.base + self.step * (np.atleast_1d(floors) - 1.0) + self.loss
        most += SLACK * (np.abs(most) + np.abs(self.base) + self.step)
        return np.where(floors == LOWEST + 1, -np.inf, most)


def _whole(floors: Array) -> Products:
    """Without fractions, and within the range of products that may be chosen."""
    # Towards 0 where that is up: a floor that is higher by less than 1 keeps no whole number out
    # that reaches it, and callers took off more than 1.
    return np.minimum(np.maximum(floors, LOWEST + 1), -(LOWEST + 1)).astype(np.int32)

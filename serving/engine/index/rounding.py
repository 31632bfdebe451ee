"""What a product in float32 may lose.

A sum of n products in float32, in whatever order and with or without fused multiply-add, differs
from the exact one by at most gamma_n * sum_i |q_i| |v_i|, with gamma_n = n u / (1 - n u) and
u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1); and the
sum is at most |q| |v|.

Shape letters: B queries, W width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_UNIT_32 = 2.0**-24
_MORE = 2
"""Roundings besides: columns may have been added before they were multiplied."""
_TINY = 1e-30


def float32_loss(vectors: NDArray[np.float32], row_norm: float, width: int, more: int = 0) -> Array:
    """The bound [B] for queries [B, W] and rows of norm ``row_norm`` at most.

    Args:
        vectors: the queries.
        row_norm: the largest Euclidean norm of a row.
        width: W.
        more: further roundings of each number, such as in decoding it.
    """
    wide = vectors.astype(np.float64)
    error = (width + _MORE + more) * _UNIT_32
    gamma = error / (1.0 - error)
    loss: Array = gamma * row_norm * np.sqrt(np.vecdot(wide, wide)) + _TINY
    return loss

"""Row numbers of a caller, checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mulde.errors import InvalidArgument
from mulde.typing import Rows


def row_numbers(field: str, values: ArrayLike, limit: int, least: int = 1) -> Rows:
    """Row numbers as int64 [B].

    Args:
        field: what they are called, for the error.
        values: one number or several.
        limit: each must be in [0, limit).
        least: how many there must be.

    Raises:
        InvalidArgument: naming the field.
    """
    array = np.asarray(values)
    if array.ndim == 0:
        array = array[None]
    if array.size == 0 and least == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.size < least or array.dtype.kind not in "iu":
        raise InvalidArgument(field, f"a list of row numbers, at least {least}", values)
    if not _within(array, limit):
        outside = (array < 0) | (array >= limit)
        raise InvalidArgument(field, f"rows from 0 to {limit - 1}", int(array[outside][0]))
    return array.astype(np.int64, copy=False)


def _within(array: NDArray[np.integer], limit: int) -> bool:
    """Whether all of [B] are in [0, limit); one query has no time for arrays of booleans."""
    if len(array) == 1:
        return 0 <= int(array[0]) < limit
    return bool(np.minimum.reduce(array) >= 0 and np.maximum.reduce(array) < limit)


def same_length(field: str, count: int, other: str, expected: int) -> None:
    """Refuse parallel lists of different lengths.

    Raises:
        InvalidArgument: naming the field.
    """
    if count != expected:
        raise InvalidArgument(field, f"{expected}, as many as {other}", count)

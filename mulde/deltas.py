"""Ascending numbers as byte-aligned differences: about one byte for each instead of four.

A number of a group is stored as its difference from the one before (from 0 for the first), in
groups of 7 bits, low ones first; the top bit of a byte says that more follow (LEB128).

Shape letters: n numbers, N bytes, G groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_BYTES = 5


def encode(
    numbers: NDArray[np.integer], offsets: NDArray[np.integer]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pack groups of ascending numbers.

    Args:
        numbers: [n], in [0, 2^31), ascending within each group.
        offsets: [G + 1]; group i is ``numbers[offsets[i]:offsets[i + 1]]``.

    Returns:
        bytes [N], and their offsets [G + 1].
    """
    wide = np.asarray(numbers, dtype=np.int64)
    before = np.concatenate([[0], wide[:-1]]) if len(wide) else wide
    first = np.zeros(len(wide), dtype=bool)
    first[offsets[:-1][offsets[:-1] < len(wide)]] = True
    steps = np.where(first, wide, wide - before)
    digits = steps[:, None] >> (7 * np.arange(_MOST_BYTES))
    used = np.concatenate([np.ones((len(wide), 1), bool), digits[:, 1:] > 0], axis=1)
    more = np.concatenate([used[:, 1:], np.zeros((len(wide), 1), bool)], axis=1)
    packed = ((digits & 0x7F) | np.where(more, 0x80, 0)).astype(np.uint8)
    ends = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    return packed[used], ends[offsets]


def decode(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Unpack one group [N] bytes; an unfinished last number is left out."""
    return np.cumsum(_steps(packed))


def decode_groups(
    packed: NDArray[np.uint8], offsets: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Unpack many groups at once.

    Args:
        packed: [N], groups one after another; each ends with the last byte of a number.
        offsets: [G + 1] into ``packed``; a group may be empty.

    Returns:
        numbers [n], and the offsets [G + 1] of the groups in them.
    """
    finished = np.concatenate([[0], np.cumsum(packed < 0x80)])
    bounds = finished[offsets]
    sums = np.concatenate([[0], np.cumsum(_steps(packed))])
    # Each group counts from 0; the sum runs on over all groups.
    numbers = sums[1:] - np.repeat(sums[bounds[:-1]], np.diff(bounds))
    return numbers, bounds


def _steps(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The differences [n] that bytes [N] stand for."""
    ends = np.flatnonzero(packed < 0x80)
    if not ends.size:
        return np.zeros(0, dtype=np.int64)
    digits = (packed[: ends[-1] + 1] & 0x7F).astype(np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(digits)) - np.repeat(starts, ends - starts + 1)
    steps: NDArray[np.int64] = np.add.reduceat(
        digits << (7 * np.minimum(place, _MOST_BYTES)), starts
    )
    return steps

"""Ascending numbers as byte-aligned differences: about one byte for each instead of four.

A number of a group, in [0, 2^31), is stored as its difference from the one before (from 0 for the
first), in groups of 7 bits, low ones first; the top bit of a byte says that more follow (LEB128).

Shape letters: n numbers, N bytes, G groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mulde.typing import Bytes, Ints, Rows

_MOST_BYTES = 5
_MORE = 0x80
"""Set in a byte after which its number goes on."""


def encode(numbers: Ints, offsets: Ints) -> tuple[Bytes, Rows]:
    """Pack groups of ascending numbers.

    Args:
        numbers: [n], in [0, 2^31), ascending within each group.
        offsets: [G + 1]; group i is ``numbers[offsets[i]:offsets[i + 1]]``.

    Returns:
        bytes [N], and their offsets [G + 1].
    """
    steps = np.array(numbers, dtype=np.int64)
    steps[1:] -= np.asarray(numbers[:-1], dtype=np.int64)
    starts = offsets[:-1][offsets[:-1] < len(steps)]
    steps[starts] = numbers[starts]
    sizes = np.ones(len(steps), dtype=np.int64)
    for place in range(1, _MOST_BYTES):
        sizes += steps >= 1 << 7 * place
    ends = np.concatenate([[0], np.cumsum(sizes)])
    packed = np.empty(int(ends[-1]), dtype=np.uint8)
    for place in range(_MOST_BYTES):
        long = np.flatnonzero(sizes > place)
        digits = steps[long] >> 7 * place & _MORE - 1
        packed[ends[long] + place] = digits | np.where(sizes[long] > place + 1, _MORE, 0)
    return packed, ends[offsets]


def decode(packed: Bytes) -> NDArray[np.int32]:
    """Unpack one group [N] bytes; an unfinished last number is left out."""
    steps = _steps(packed, np.flatnonzero(packed >= _MORE))
    return np.cumsum(steps, dtype=np.uint32).view(np.int32)


def decode_groups(packed: Bytes, offsets: Ints) -> tuple[NDArray[np.int32], Rows]:
    """Unpack many groups at once.

    Args:
        packed: [N], groups one after another; each ends with the last byte of a number.
        offsets: [G + 1] into ``packed``; a group may be empty.

    Returns:
        numbers [n], and the offsets [G + 1] of the groups in them.
    """
    more = np.flatnonzero(packed >= _MORE)
    bounds = offsets - np.searchsorted(more, offsets)
    steps = _steps(packed, more)
    sums = np.zeros(len(steps) + 1, dtype=np.uint32)
    # Each group counts from 0; the sum runs on over all groups, and over 2^32, which cancels.
    np.cumsum(steps, out=sums[1:])
    sums[1:] -= np.repeat(sums[bounds[:-1]], np.diff(bounds))
    return sums[1:].view(np.int32), bounds


def _steps(packed: Bytes, more: Rows) -> NDArray[np.uint32]:
    """The differences [n] that bytes [N] stand for.

    Args:
        packed: [N].
        more: [M], places of the bytes after which their number goes on; they are few.
    """
    steps = packed[packed < _MORE].astype(np.uint32)
    owners = more - np.arange(len(more))
    for _ in range(1, _MOST_BYTES):
        if not len(more):
            break
        # From the last digits of a number to the first; one of each number in a round.
        last = np.ones(len(more), dtype=bool)
        np.not_equal(owners[1:], owners[:-1], out=last[:-1])
        last &= owners < len(steps)
        at = owners[last]
        steps[at] = steps[at] << 7 | packed[more[last]] & 0x7F
        more, owners = more[~last], owners[~last]
    return steps

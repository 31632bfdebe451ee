"""Look up strings that are sorted, or that have a sorted order beside them.

Shape letters: n strings, B strings that are looked up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from mulde.storage.strings import StringColumn
from mulde.typing import Array, Ints, Mask, Rows

_STEP = 64
_LEADER_BYTES = 1 << 20
_MOST_SURVEYED = 1 << 17
_PIECE = 1 << 13
"""Strings that are read at once where many are: it takes much more memory than they do."""
_LONGEST_LEADER = 128
_FEW = 16
"""Up to here, a bisection for each string is faster than one over arrays for all."""


class SortedStrings(Sequence[bytes]):
    """Strings in ascending order of their bytes.

    Some strings, called leaders, are kept in an array, so that most of a look-up is one step for
    all: as many as a megabyte holds of a small column, every 64th of a large one.

    Args:
        strings: the column.
        order: [n], rows sorted by their bytes; None where the strings themselves are sorted.
    """

    def __init__(self, strings: StringColumn, order: Ints | None = None) -> None:
        self.strings, self.order = strings, order

    def __len__(self) -> int:
        """n."""
        return len(self.strings)

    def __getitem__(self, place: int) -> bytes:  # type: ignore[override]
        """The bytes of the string at a place of the order."""
        return self.strings.raw(place if self.order is None else int(self.order[place]))

    def rows(self, places: Rows) -> Rows:
        """The rows at places [B] of the order."""
        return places if self.order is None else self.order[places].astype(np.int64)

    def find(self, values: Sequence[str]) -> Rows:
        """The first place of each of ``values`` [B]; -1 where no string is equal."""
        places = self.lower_bounds(values)
        return np.where(self.equal(places, values), places, -1)

    def equal(self, places: Rows, values: Sequence[str]) -> Mask:
        """Whether the string at each place [B], which may be past the end, is the value."""
        if len(values) <= _FEW:
            pairs = zip(places.tolist(), values, strict=True)
            # A lone surrogate passes into bytes that no string of a file can have.
            raws = ((at, value.encode("utf-8", "surrogatepass")) for at, value in pairs)
            return np.array([at < len(self) and self[at] == raw for at, raw in raws], dtype=bool)
        if not len(self):
            return np.zeros(len(places), dtype=bool)
        found = self.strings.take(self.rows(np.minimum(places, len(self) - 1)))
        same = [a == b for a, b in zip(found, values, strict=True)]
        return np.array(same, dtype=bool) & (places < len(self))

    def lower_bounds(self, values: Sequence[str]) -> Rows:
        """For each of ``values`` [B], the first place in [0, n] whose string is not less."""
        raws = [value.encode("utf-8", "replace") for value in values]
        # Cut to one byte more than a leader has, which puts longer ones behind their beginnings;
        # numpy would copy all leaders to compare them with wider strings.
        leader = np.searchsorted(self._leaders, np.array(raws, self._leaders.dtype))
        low = np.maximum((leader - 1) * self._step + 1, 0)
        high = np.minimum(leader * self._step, len(self)) if len(self._leaders) else low + len(self)
        if len(raws) <= _FEW:
            each = zip(raws, low.tolist(), high.tolist(), strict=True)
            return np.array([bisect_left(self, *bounds) for bounds in each], dtype=np.int64)
        wanted = np.array(raws, dtype=f"S{max(map(len, raws)) + 1}")
        while (low < high).any():
            middle = np.minimum((low + high) // 2, len(self) - 1)
            less = self.strings.padded(self.rows(middle), wanted.itemsize) < wanted
            open_ = low < high
            low, high = np.where(open_ & less, middle + 1, low), np.where(less, high, middle)
        return low

    @cached_property
    def _step(self) -> int:
        """From one leader to the next."""
        count = len(self)
        if not 0 < count <= _MOST_SURVEYED:
            return _STEP
        width = self._longest(np.arange(count))
        return min(_STEP, -(-count * width // _LEADER_BYTES))

    @cached_property
    def _leaders(self) -> Array:
        """The strings at its multiples; none if one is so long that the array would be large."""
        rows = self.rows(np.arange(0, len(self), self._step))
        width = max(1, self._longest(rows))
        leaders = np.zeros(len(rows) if width <= _LONGEST_LEADER else 0, dtype=f"S{width + 1}")
        for part in _pieces(len(leaders)):
            leaders[part] = self.strings.padded(rows[part], width + 1)
        return leaders

    def _longest(self, rows: Rows) -> int:
        """Bytes of the longest string of ``rows``; 0 without any."""
        sizes = (self.strings.sizes(rows[part]).max() for part in _pieces(len(rows)))
        return int(max(sizes, default=0))


def _pieces(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _PIECE, count)) for start in range(0, count, _PIECE))

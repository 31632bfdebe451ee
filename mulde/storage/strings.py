"""A column of strings: UTF-8 bytes, mapped, plain or front-coded.

Strings hold no NUL and no line feed, so many of them are taken out with one gather, one decode and
one split. Ends count from the start of their block, so a string costs its bytes and one or two
more.

Plain: the strings one after another, in blocks of 16.

Front-coded (``mulde.storage.front_coding``): the strings in ascending order, each without the
beginning that it shares with an earlier one, in blocks of 8. The string at place i leaves out what
it shares with the one at place i & (i - 1), which is i without its last binary digit that is 1; the
first of each 16 is whole. So a string consists of five pieces at most.

Shape letters: n strings, B strings of a request, N bytes of text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from mulde.runs import run_places
from mulde.typing import Array, Bytes, Ints, Rows

MAX_BYTES = 4096
"""The longest id or label, in bytes of UTF-8."""

CHUNK_ROWS = 1 << 16
"""Strings that are processed at a time where all are."""

GROUP = 16
"""The first of so many front-coded strings is whole."""

_PLAIN_BLOCK, _FRONT_BLOCK = 16, 8
_DEPTH = 4
_CHUNK_BYTES = 1 << 22
_FEW = 32
"""Up to here, strings are put together sooner one by one."""


class StringColumn(Sequence[str]):
    """An immutable sequence of n strings.

    Attributes:
        data: uint8 [N], the stored bytes one after another.
        starts: uint32 or uint64 [ceil(n / block)], where each block of strings starts.
        ends: uint8, uint16 or uint32 [n], where each string ends, from the start of its block.
        shared: uint8 [n], bytes that each place leaves out; None in a plain column.
        places: uint16 or uint32 [n], place of each row; None where row i is at place i.
    """

    def __init__(
        self,
        data: Array,
        starts: Array,
        ends: Array,
        shared: Array | None = None,
        places: Array | None = None,
    ) -> None:
        self.data, self.starts, self.ends = data, starts, ends
        self.shared, self.places = shared, places
        self.block = _PLAIN_BLOCK if shared is None else _FRONT_BLOCK
        # One number of a memoryview is read several times as quickly as of an array.
        self._bytes, self._starts, self._ends = data.data, starts.data, ends.data
        self._shared = None if shared is None else shared.data
        self._places = None if places is None else places.data

    @classmethod
    def build(cls, values: Sequence[str]) -> StringColumn:
        """Pack strings into a plain column.

        Raises:
            ValueError: if one is empty, longer than ``MAX_BYTES``, holds NUL or a line feed, or
                is not valid Unicode (a lone surrogate).
        """
        parts = [value.encode() for value in values]
        sizes = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        return cls.packed(np.frombuffer(b"".join(parts), dtype=np.uint8), sizes)

    @classmethod
    def packed(cls, data: Bytes, sizes: Rows) -> StringColumn:
        """Pack strings that lie one after another into a plain column.

        Args:
            data: [N], UTF-8; not checked.
            sizes: [n], of each string in bytes.

        Raises:
            ValueError: as ``build``.
        """
        refused = (sizes == 0) | (sizes > MAX_BYTES)
        if refused.any():
            row = int(np.argmax(refused))
            raise ValueError(f"string {row}: expected 1 to {MAX_BYTES} bytes, found {sizes[row]}")
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        forbidden = np.flatnonzero((data == 0) | (data == ord("\n")))
        if forbidden.size:
            row = int(np.searchsorted(offsets, forbidden[0], side="right")) - 1
            found = data[offsets[row] : offsets[row + 1]].tobytes().decode("utf-8", "replace")
            raise ValueError(f"string {row} holds NUL or a line feed: {found!r}")
        return cls(data, *_divided(offsets, _PLAIN_BLOCK))

    @classmethod
    def front_coded(
        cls, data: Bytes, kept: Rows, shared: Bytes, places: Array | None
    ) -> StringColumn:
        """A front-coded column of the ends of strings, [N] bytes of ``kept`` [n] each."""
        offsets = np.concatenate([[0], np.cumsum(kept)])
        return cls(data, *_divided(offsets, _FRONT_BLOCK), shared, places)

    def __len__(self) -> int:
        """n."""
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...
    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        """One string, or a list of them for a slice."""
        if isinstance(row, slice):
            return self.take(np.arange(len(self))[row])
        return self.raw(row).decode()

    def __iter__(self) -> Iterator[str]:
        """All strings, decoded in blocks."""
        for start in range(0, len(self), 4096):
            yield from self.take(np.arange(start, min(start + 4096, len(self))))

    def raw(self, row: int) -> bytes:
        """The bytes of one string.

        Raises:
            IndexError: if ``row`` is not in [0, n).
        """
        if not 0 <= row < len(self._ends):
            raise IndexError(f"expected a row in [0, {len(self)}), found {row}")
        place = row if self._places is None else self._places[row]
        text = self._piece(place)
        if self._shared is None:
            return text
        missing = self._shared[place]
        while missing:
            place &= place - 1
            left_out = self._shared[place]
            if left_out < missing:
                text = self._piece(place, missing - left_out) + text
                missing = left_out
        return text

    def _piece(self, place: int, most: int | None = None) -> bytes:
        """The stored bytes of one place, or the first ``most`` of them."""
        base = self._starts[place // self.block]
        start = base + self._ends[place - 1] if place % self.block else base
        stop = base + self._ends[place] if most is None else start + most
        return self._bytes[start:stop].tobytes()

    def take(self, rows: Ints) -> list[str]:
        """The strings of ``rows`` [B], in that order.

        Raises:
            IndexError: if a row is not in [0, n).
        """
        if rows.size == 0:
            return []
        if len(rows) <= _FEW:
            return b"\n".join(map(self.raw, rows.tolist())).decode().split("\n")
        if rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"expected rows in [0, {len(self)}), found {rows.min()}..{rows.max()}")
        return self.joined(rows).decode().split("\n")

    def joined(self, rows: Ints) -> bytes:
        """The bytes of the strings of ``rows`` [B], at least one, with line feeds between them."""
        text, sizes = self.text(rows)
        ends = np.cumsum(sizes + 1)
        lines = np.full(int(ends[-1]), ord("\n"), dtype=np.uint8)
        keep = np.ones(lines.size, dtype=bool)
        keep[ends - 1] = False
        lines[keep] = text
        return lines[:-1].tobytes()

    def padded(self, rows: Ints, width: int) -> Array:
        """The first ``width`` bytes of each of ``rows`` [B], as a fixed-width bytes array [B]."""
        text, sizes = self.text(rows, width)
        letters = np.zeros((len(rows), width), dtype=np.uint8)
        letters[np.arange(width) < sizes[:, None]] = text
        return letters.view(f"S{width}").reshape(-1)

    def sizes(self, rows: Ints) -> Rows:
        """Bytes of the strings of ``rows`` [B]."""
        return self.sizes_at(self._places_of(rows))

    def sizes_at(self, places: Rows) -> Rows:
        """Bytes of the strings at ``places`` [B]."""
        start, end = self.bounds(places)
        return end - start + self._shared_at(places)

    def bounds(self, places: Rows) -> tuple[Rows, Rows]:
        """Where the stored bytes of ``places`` [B] start and end in ``data``."""
        base = self.starts[places // self.block].astype(np.int64)
        start = np.where(places % self.block, self.ends[places - 1], 0) + base
        return start, self.ends[places] + base

    def text(self, rows: Ints, most: int = MAX_BYTES) -> tuple[Bytes, Rows]:
        """The first ``most`` bytes of the strings of ``rows`` [B], and their sizes [B]."""
        place = self._places_of(rows)
        missing = sizes = np.minimum(self.sizes_at(place), most)
        starts, taken = [], []
        for _ in range(_DEPTH + 1):
            starts.append(self.bounds(place)[0])
            left_out = np.minimum(self._shared_at(place), missing)
            taken.append(missing - left_out)
            if not left_out.any():
                break
            missing, place = left_out, place & place - 1
        # The pieces were found from the last to the first.
        start, size = (np.stack(part[::-1], axis=1).reshape(-1) for part in (starts, taken))
        return self.data.take(run_places(start, size)), sizes

    def rising(self, order: Ints, *, strict: bool) -> bool:
        """Whether the strings taken in this order rise (strictly, or may repeat)."""
        for rows in _overlapping(order, CHUNK_ROWS):
            width = int(self.sizes(rows).max())
            for part in _overlapping(rows, max(1, _CHUNK_BYTES // width)):
                text = self.padded(part, width)
                if not (text[:-1] < text[1:] if strict else text[:-1] <= text[1:]).all():
                    return False
        return True

    def _shared_at(self, places: Rows) -> Rows:
        """Bytes that the strings at ``places`` [B] leave out."""
        if self.shared is None:
            return np.zeros(len(places), dtype=np.int64)
        return self.shared[places].astype(np.int64)

    def _places_of(self, rows: Ints) -> Rows:
        return (rows if self.places is None else self.places[rows]).astype(np.int64)


def _divided(offsets: Rows, block: int) -> tuple[Array, Array]:
    """``starts`` and ``ends`` of strings that lie from offset to offset, [n + 1]."""
    starts = offsets[:-1:block]
    ends = offsets[1:] - np.repeat(starts, block)[: len(offsets) - 1]
    wide = offsets[-1] >= 2**32
    narrow = np.min_scalar_type(ends.max(initial=0))
    return starts.astype(np.uint64 if wide else np.uint32), ends.astype(narrow)


def _overlapping(rows: Ints, step: int) -> Iterator[Ints]:
    """Runs of ``step`` neighbouring pairs: each starts with the last row of the one before."""
    for start in range(0, len(rows) - 1, step):
        yield rows[start : start + step + 1]

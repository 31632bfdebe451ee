"""A column of strings as two arrays: UTF-8 bytes and offsets.

Names hold no NUL and no line feed, so many of them are taken out with one gather, one decode and
one split instead of a slice for each.

Shape letters: n strings, B strings of a request, N bytes.
"""

from __future__ import annotations

import codecs
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from mulde.sections import check_offsets

MAX_BYTES = 4096
"""The longest id or label, in bytes of UTF-8."""

_CHUNK_BYTES = 1 << 22
_CHUNK_ROWS = 1 << 16
_FEW = 32
"""Up to here, a bisection for each string is faster than one over arrays for all."""


Offsets = NDArray[np.uint32] | NDArray[np.uint64]


class Strings(Sequence[str]):
    """An immutable sequence of n strings; a string costs its bytes and 4 more.

    Attributes:
        data: uint8 [N], the strings one after another.
        offsets: uint32 or uint64 [n + 1]; string i is ``data[offsets[i]:offsets[i + 1]]``.
    """

    def __init__(self, data: NDArray[np.uint8], offsets: Offsets) -> None:
        self.data = data
        self.offsets = offsets
        self._bytes = data.data

    @classmethod
    def build(cls, values: Sequence[str]) -> Strings:
        """Pack strings.

        Raises:
            ValueError: if one is empty, longer than ``MAX_BYTES``, holds NUL or a line feed, or
                is not valid Unicode (a lone surrogate).
        """
        parts = [value.encode() for value in values]
        sizes = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        data = np.frombuffer(b"".join(parts), dtype=np.uint8)
        refused = (sizes == 0) | (sizes > MAX_BYTES)
        if refused.any():
            row = int(np.argmax(refused))
            raise ValueError(f"string {row}: expected 1 to {MAX_BYTES} bytes, found {sizes[row]}")
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        forbidden = np.flatnonzero((data == 0) | (data == ord("\n")))
        if forbidden.size:
            row = int(np.searchsorted(offsets, forbidden[0], side="right")) - 1
            raise ValueError(f"string {row} holds NUL or a line feed: {values[row]!r}")
        wide = data.size >= 2**32
        return cls(data, offsets.astype(np.uint64) if wide else offsets.astype(np.uint32))

    def __len__(self) -> int:
        """n."""
        return len(self.offsets) - 1

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
        if not 0 <= row < len(self):
            raise IndexError(f"expected a row in [0, {len(self)}), found {row}")
        return self._bytes[int(self.offsets[row]) : int(self.offsets[row + 1])].tobytes()

    def take(self, rows: NDArray[np.integer]) -> list[str]:
        """The strings of ``rows`` [B], in that order.

        Raises:
            IndexError: if a row is not in [0, n).
        """
        if rows.size == 0:
            return []
        if rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"expected rows in [0, {len(self)}), found {rows.min()}..{rows.max()}")
        starts = self.offsets[rows].astype(np.int64)
        sizes = self.offsets[rows + 1].astype(np.int64) - starts
        ends = np.cumsum(sizes + 1)
        text = np.full(int(ends[-1]), ord("\n"), dtype=np.uint8)
        shift = np.repeat(starts - (ends - sizes - 1), sizes)
        keep = np.ones(text.size, dtype=bool)
        keep[ends - 1] = False
        places = np.flatnonzero(keep)
        text[places] = self.data[places + shift]
        return text[:-1].tobytes().decode().split("\n")

    def lower_bounds(
        self, values: Sequence[str], order: NDArray[np.integer] | None = None
    ) -> NDArray[np.int64]:
        """For each of ``values`` [B], the place of the first string that is not less than it.

        Args:
            values: what is looked for.
            order: [n], rows sorted by their bytes; without it, the strings themselves are sorted.

        Returns:
            [B], places in [0, n]: of the strings, or of ``order`` where it is given.
        """
        raws = [value.encode("utf-8", "replace") for value in values]
        if len(raws) < _FEW:
            ordered = _Ordered(self, order)
            return np.array([bisect_left(ordered, raw) for raw in raws], dtype=np.int64)
        width = max(map(len, raws)) + 1
        wanted = np.array(raws, dtype=f"S{width}")
        low = np.zeros(len(raws), dtype=np.int64)
        high = np.full(len(raws), len(self), dtype=np.int64)
        for _ in range(len(self).bit_length()):
            middle = np.minimum((low + high) // 2, len(self) - 1)
            less = self.padded(middle if order is None else order[middle], width) < wanted
            open_ = low < high
            low = np.where(open_ & less, middle + 1, low)
            high = np.where(open_ & ~less, middle, high)
        return low

    def check(self, path: Path, name: str) -> None:
        """Refuse damaged columns: bounds, sizes, UTF-8, separators.

        Raises:
            BundleError: naming the file, the column and what is wrong with it.
        """
        check_offsets(path, f"offsets of {name}", self.offsets, self.data.size)
        sizes = np.diff(self.offsets)
        if sizes.size and not (sizes.min() >= 1 and sizes.max() <= MAX_BYTES):
            raise BundleError(path, f"{name}: expected strings of 1 to {MAX_BYTES} bytes")
        first = self.data[self.offsets[:-1]]
        if ((first & 0xC0) == 0x80).any():
            raise BundleError(path, f"{name}: a string starts inside a character")
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for start in range(0, self.data.size, _CHUNK_BYTES):
                chunk = self.data[start : start + _CHUNK_BYTES]
                decoder.decode(chunk.tobytes(), final=start + _CHUNK_BYTES >= self.data.size)
                if (chunk == 0).any() or (chunk == ord("\n")).any():
                    raise BundleError(path, f"{name}: a string holds NUL or a line feed")
        except UnicodeDecodeError as error:
            raise BundleError(path, f"{name}: expected UTF-8, found other bytes") from error

    def padded(self, rows: NDArray[np.integer], width: int) -> NDArray[np.bytes_]:
        """The first ``width`` bytes of each of ``rows`` [B], as a fixed-width bytes array [B]."""
        starts = self.offsets[rows].astype(np.int64)[:, None]
        sizes = self.offsets[rows + 1].astype(np.int64)[:, None] - starts
        columns = np.arange(width)
        inside = columns < sizes
        places = np.where(inside, starts + columns, 0)
        taken = self.data[places] if self.data.size else np.zeros(places.shape, np.uint8)
        result: NDArray[np.bytes_] = (
            np.ascontiguousarray(np.where(inside, taken, 0).astype(np.uint8))
            .view(f"S{width}")
            .reshape(-1)
        )
        return result

    def rising(self, order: NDArray[np.integer], *, strict: bool) -> bool:
        """Whether the strings taken in this order rise (strictly, or may repeat)."""
        for rows in _overlapping(order, _CHUNK_ROWS):
            width = int((self.offsets[rows + 1] - self.offsets[rows]).max())
            for part in _overlapping(rows, max(1, _CHUNK_BYTES // width)):
                text = self.padded(part, width)
                if not (text[:-1] < text[1:] if strict else text[:-1] <= text[1:]).all():
                    return False
        return True


def _overlapping(rows: NDArray[np.integer], step: int) -> Iterator[NDArray[np.integer]]:
    """Runs of ``step`` neighbouring pairs: each starts with the last row of the one before."""
    for start in range(0, len(rows) - 1, step):
        yield rows[start : start + step + 1]


class _Ordered(Sequence[bytes]):
    """Strings seen in sorted order, for ``bisect``."""

    def __init__(self, strings: Strings, order: NDArray[np.integer] | None) -> None:
        self.strings, self.order = strings, order

    def __len__(self) -> int:
        return len(self.strings)

    def __getitem__(self, place: int) -> bytes:  # type: ignore[override]
        return self.strings.raw(place if self.order is None else int(self.order[place]))

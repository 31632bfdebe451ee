"""A column of strings: UTF-8 bytes, and where each string ends.

Names hold no NUL and no line feed, so many of them are taken out with one gather, one decode and
one split instead of a slice for each. Ends count from the start of their block of 16 strings,
so that a string costs its bytes and one or two more.

Shape letters: n strings, B strings of a request, N bytes.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from mulde.typing import Array

Pieces = tuple[NDArray[np.int64], NDArray[np.int64]]

MAX_BYTES = 4096
"""The longest id or label, in bytes of UTF-8."""

COLUMNS = {"data": ("u1",), "starts": ("u4", "u8"), "ends": ("u1", "u2", "u4")}
"""The arrays of a column and the types they may have."""

CHUNK_ROWS = 1 << 16
"""As many strings are looked at together where all are."""

_CHUNK_BYTES = 1 << 22


class Strings(Sequence[str]):
    """An immutable sequence of n strings.

    Attributes:
        data: uint8 [N], the strings one after another.
        starts: uint32 or uint64 [ceil(n / 16)], where each block of 16 strings starts.
        ends: uint8, uint16 or uint32 [n], where each string ends, from the start of its block.
    """

    block = 16
    least = 1
    """Bytes that a string adds to ``data`` at least."""

    def __init__(self, data: Array, starts: Array, ends: Array) -> None:
        self.data, self.starts, self.ends = data, starts, ends
        # One number of these is read several times as quickly as of an array.
        self._bytes, self._starts, self._ends = data.data, starts.data, ends.data

    @classmethod
    def build(cls, values: Sequence[str]) -> Strings:
        """Pack strings.

        Raises:
            ValueError: if one is empty, longer than ``MAX_BYTES``, holds NUL or a line feed, or
                is not valid Unicode (a lone surrogate).
        """
        parts = [value.encode() for value in values]
        sizes = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        return cls.packed(np.frombuffer(b"".join(parts), dtype=np.uint8), sizes)

    @classmethod
    def packed(cls, data: NDArray[np.uint8], sizes: NDArray[np.int64]) -> Strings:
        """The same for strings that lie one after another.

        Args:
            data: [N], UTF-8.
            sizes: [n], of each string in bytes.

        Raises:
            ValueError: as ``build``; that the bytes are UTF-8 is for the caller to know.
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
        return cls(data, *cls.divided(offsets))

    @classmethod
    def divided(cls, offsets: NDArray[np.int64]) -> tuple[Array, Array]:
        """``starts`` and ``ends`` of strings that lie from offset to offset, [n + 1]."""
        starts = offsets[: -1 : cls.block]
        ends = offsets[1:] - np.repeat(starts, cls.block)[: len(offsets) - 1]
        wide = offsets[-1] >= 2**32
        narrow = np.min_scalar_type(ends.max(initial=0))
        return starts.astype(np.uint64 if wide else np.uint32), ends.astype(narrow)

    @classmethod
    def of(cls, path: Path, name: str, arrays: Mapping[str, Array]) -> Strings:
        """A column from mapped arrays ``NAME.data``, ``NAME.starts`` and ``NAME.ends``.

        Raises:
            BundleError: if their sizes do not fit; ``check`` looks at their content.
        """
        data, starts, ends = (arrays[f"{name}.{part}"] for part in COLUMNS)
        cls.check_starts(path, name, starts, ends)
        return cls(data, starts, ends)

    @classmethod
    def check_starts(cls, path: Path, name: str, starts: Array, ends: Array) -> None:
        """Refuse another number of blocks than there must be."""
        if len(starts) != -(-len(ends) // cls.block):
            raise BundleError(path, f"{name}: expected one start for each {cls.block} strings")

    def arrays(self, name: str) -> dict[str, Array]:
        """The arrays to write, by the names that ``of`` reads."""
        return {f"{name}.{part}": getattr(self, part) for part in COLUMNS}

    def __len__(self) -> int:
        """n."""
        return len(self.ends)

    def bounds(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the strings of ``rows`` [B] start and end in ``data``."""
        rows = rows.astype(np.int64)
        base = self.starts[rows // self.block].astype(np.int64)
        start = np.where(rows % self.block, self.ends[rows - 1], 0) + base
        return start, self.ends[rows] + base

    def sizes(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Bytes of the strings of ``rows`` [B]."""
        start, end = self.bounds(rows)
        return end - start

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
        return self._piece(row)

    def _piece(self, row: int, most: int | None = None) -> bytes:
        """What lies in ``data`` for one string, or the first ``most`` bytes of it."""
        base = self._starts[row // self.block]
        start = base + self._ends[row - 1] if row % self.block else base
        stop = base + self._ends[row] if most is None else start + most
        return self._bytes[start:stop].tobytes()

    def take(self, rows: NDArray[np.integer]) -> list[str]:
        """The strings of ``rows`` [B], in that order.

        Raises:
            IndexError: if a row is not in [0, n).
        """
        if rows.size == 0:
            return []
        if rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"expected rows in [0, {len(self)}), found {rows.min()}..{rows.max()}")
        return self.joined(rows).decode().split("\n")

    def joined(self, rows: NDArray[np.integer]) -> bytes:
        """The bytes of the strings of ``rows`` [B], at least one, with line feeds between them."""
        pieces, sizes = self.pieces(rows)
        ends = np.cumsum(sizes + 1)
        text = np.full(int(ends[-1]), ord("\n"), dtype=np.uint8)
        keep = np.ones(text.size, dtype=bool)
        keep[ends - 1] = False
        text[keep] = self.gather(pieces)
        return text[:-1].tobytes()

    def pieces(
        self, rows: NDArray[np.integer], most: int = MAX_BYTES
    ) -> tuple[Pieces, NDArray[np.int64]]:
        """Where the first ``most`` bytes of the strings of ``rows`` [B] lie, and how many they are.

        Returns:
            Starts and sizes in ``data`` of pieces, string after string; and the sizes [B] of the
            strings.
        """
        start, stop = self.bounds(rows)
        sizes = np.minimum(stop - start, most)
        return (start, sizes), sizes

    def gather(self, pieces: Pieces) -> NDArray[np.uint8]:
        """The bytes of pieces, one after another."""
        starts, sizes = pieces
        at = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        at += np.arange(len(at))
        return self.data.take(at)

    def check(self, path: Path, name: str) -> None:
        """Refuse damaged columns: bounds, sizes, UTF-8, separators.

        Raises:
            BundleError: naming the file, the column and what is wrong with it.
        """
        self.check_pieces(path, name)
        for first in range(0, len(self), CHUNK_ROWS):
            starts, _ = self.bounds(np.arange(first, min(first + CHUNK_ROWS, len(self))))
            if ((self.data[starts] & 0xC0) == 0x80).any():
                raise BundleError(path, f"{name}: a string starts inside a character")
        self._check_text(path, name)

    def check_pieces(self, path: Path, name: str) -> None:
        """Refuse strings that do not follow one another or do not fill ``data``."""
        end = 0
        for first in range(0, len(self), CHUNK_ROWS):
            starts, stops = self.bounds(np.arange(first, min(first + CHUNK_ROWS, len(self))))
            if (starts != np.concatenate([[end], stops[:-1]])).any() or stops[-1] > self.data.size:
                raise BundleError(path, f"{name}: the strings must follow one another")
            end = int(stops[-1])
            if (stops < starts + self.least).any() or (stops > starts + MAX_BYTES).any():
                raise BundleError(path, f"{name}: expected strings of 1 to {MAX_BYTES} bytes")
        if end != self.data.size:
            raise BundleError(path, f"{name}: the strings must fill their {self.data.size} bytes")

    def _check_text(self, path: Path, name: str) -> None:
        """Refuse bytes that are not UTF-8, NUL and line feeds; reads them in pieces."""
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
        pieces, sizes = self.pieces(rows, width)
        text = np.zeros((len(rows), width), dtype=np.uint8)
        text[np.arange(width) < sizes[:, None]] = self.gather(pieces)
        result: NDArray[np.bytes_] = text.view(f"S{width}").reshape(-1)
        return result

    def rising(self, order: NDArray[np.integer], *, strict: bool) -> bool:
        """Whether the strings taken in this order rise (strictly, or may repeat)."""
        for rows in _overlapping(order, CHUNK_ROWS):
            width = int(self.sizes(rows).max())
            for part in _overlapping(rows, max(1, _CHUNK_BYTES // width)):
                text = self.padded(part, width)
                if not (text[:-1] < text[1:] if strict else text[:-1] <= text[1:]).all():
                    return False
        return True


def _overlapping(rows: NDArray[np.integer], step: int) -> Iterator[NDArray[np.integer]]:
    """Runs of ``step`` neighbouring pairs: each starts with the last row of the one before."""
    for start in range(0, len(rows) - 1, step):
        yield rows[start : start + step + 1]

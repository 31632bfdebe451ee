"""A column of strings without the beginnings that they share: front coding.

Strings lie in ascending order. Of a group of 16, the first is whole, and the one at place i leaves
out what it begins with as the one at place i & (i - 1) does, which is i without its last binary
digit that is 1. So each is put together from five pieces at most, and many of them at once. To
leave out what the string just before has would save little more, and take sixteen.

Shape letters: n strings, B strings of a request, N bytes of text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from mulde.storage.strings import CHUNK_ROWS, COLUMNS, MAX_BYTES, Pieces, Strings
from mulde.typing import Array

FRONTS = {"shared": ("u1",), "places": ("u2", "u4")}
"""The further arrays of such a column; both are empty where strings are whole."""

_GROUP, _DEPTH = 16, 4
_MOST_SHARED = 255
_FEW = 32
"""Up to here, strings are put together sooner one by one."""


class Fronted(Strings):
    """See ``Strings``; ``data``, ``starts`` and ``ends`` are those of the ends of strings.

    Attributes:
        shared: uint8 [n], how many bytes each place leaves out.
        places: uint16 or uint32 [n], the place of each row; empty where rows are places.
    """

    block = 8
    least = 0

    def __init__(self, data: Array, starts: Array, ends: Array, shared: Array, places: Array):
        super().__init__(data, starts, ends)
        self.shared, self.places = shared, places
        self._shared, self._places = shared.data, places.data

    def _placed(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        return (self.places[rows] if len(self.places) else rows).astype(np.int64)

    def sizes(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """See ``Strings.sizes``."""
        return self._sizes(self._placed(rows))

    def _sizes(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        start, end = self.bounds(places)
        return end - start + self.shared[places]

    def raw(self, row: int) -> bytes:
        """See ``Strings.raw``."""
        if not 0 <= row < len(self):
            raise IndexError(f"expected a row in [0, {len(self)}), found {row}")
        place = self._places[row] if len(self.places) else row
        text, missing = self._piece(place), self._shared[place]
        for _ in range(_DEPTH):
            if not missing:
                break
            place &= place - 1
            left_out = self._shared[place]
            if left_out < missing:
                text = self._piece(place, missing - left_out) + text
                missing = left_out
        return text

    def joined(self, rows: NDArray[np.integer]) -> bytes:
        """See ``Strings.joined``."""
        if len(rows) <= _FEW:
            return b"\n".join(map(self.raw, rows.tolist()))
        return super().joined(rows)

    def pieces(
        self, rows: NDArray[np.integer], most: int = MAX_BYTES
    ) -> tuple[Pieces, NDArray[np.int64]]:
        """See ``Strings.pieces``."""
        place = self._placed(rows)
        missing = sizes = np.minimum(self._sizes(place), most)
        starts, taken = [], []
        for _ in range(_DEPTH + 1):
            left_out = np.minimum(self.shared[place], missing)
            starts.append(self.bounds(place)[0])
            taken.append(missing - left_out)
            missing = left_out
            if not missing.any():
                break
            place &= place - 1
        # What was found last comes first.
        first, size = (np.stack(part[::-1], axis=1).reshape(-1) for part in (starts, taken))
        return (first, size), sizes

    def check(self, path: Path, name: str) -> None:
        """See ``Strings.check``; and what is shared must be there.

        Raises:
            BundleError: naming the file, the column and what is wrong with it.
        """
        self.check_pieces(path, name)
        if self.shared[::_GROUP].any():
            raise BundleError(path, f"{name}: the first of {_GROUP} strings must be whole")
        self._check_places(path, name)
        if (self.data == 0).any() or (self.data == ord("\n")).any():
            raise BundleError(path, f"{name}: a string holds NUL or a line feed")
        for first in range(0, len(self), CHUNK_ROWS):
            places = np.arange(first, min(first + CHUNK_ROWS, len(self)))
            sizes = self._sizes(places)
            if (sizes < 1).any() or (sizes > MAX_BYTES).any():
                raise BundleError(path, f"{name}: expected strings of 1 to {MAX_BYTES} bytes")
            if (self.shared[places] > self._sizes(places & places - 1)).any():
                raise BundleError(path, f"{name}: a string begins with more than there is")
            self._check_utf8(path, name, places)

    def _check_places(self, path: Path, name: str) -> None:
        """Refuse rows that share a place or are nowhere."""
        if not len(self.places):
            return
        seen = np.zeros(len(self), dtype=bool)
        seen[self.places[self.places < len(self)]] = True
        if not seen.all():
            raise BundleError(path, f"{name}: expected each place once")

    def _check_utf8(self, path: Path, name: str, rows: NDArray[np.int64]) -> None:
        """A line feed within a character is not UTF-8, so each string must be."""
        try:
            self.joined(rows).decode()
        except UnicodeDecodeError as error:
            raise BundleError(path, f"{name}: expected UTF-8, found other bytes") from error


def column_of(path: Path, name: str, arrays: Mapping[str, Array]) -> Strings:
    """A column from mapped arrays, ``FRONTS`` among them or not.

    Raises:
        BundleError: as ``Strings.of``.
    """
    shared, places = (arrays.get(f"{name}.{part}", np.zeros(0, np.uint8)) for part in FRONTS)
    if not len(shared) and not len(places):
        return Strings.of(path, name, arrays)
    data, starts, ends = (arrays[f"{name}.{part}"] for part in COLUMNS)
    Fronted.check_starts(path, name, starts, ends)
    if len(shared) != len(ends) or len(places) not in (0, len(ends)):
        raise BundleError(path, f"{name}: expected what each of {len(ends)} strings leaves out")
    return Fronted(data, starts, ends, shared, places)


def column_arrays(strings: Strings, name: str) -> dict[str, Array]:
    """What ``column_of`` reads."""
    parts: dict[str, Array] = {"shared": np.zeros(0, np.uint8), "places": np.zeros(0, np.uint16)}
    if isinstance(strings, Fronted):
        parts = {part: getattr(strings, part) for part in FRONTS}
    return strings.arrays(name) | {f"{name}.{part}": array for part, array in parts.items()}


def shortest(strings: Strings, order: NDArray[np.integer] | None = None) -> Strings:
    """The same strings in fewer bytes, if there is a way.

    Args:
        strings: n of them.
        order: [n], rows in ascending order of their strings; None where they have it themselves.
    """
    if isinstance(strings, Fronted) or not len(strings):
        return strings
    return min(strings, fronted(strings, order), key=_bytes)


def _bytes(strings: Strings) -> int:
    return sum(array.nbytes for array in column_arrays(strings, "").values())


def fronted(strings: Strings, order: NDArray[np.integer] | None = None) -> Fronted:
    """Front coding of strings; see ``shortest``."""
    count = len(strings)
    rows = np.arange(count) if order is None else order.astype(np.int64)
    shared, parts = np.zeros(count, np.uint8), [np.zeros(0, np.uint8)]
    sizes = strings.sizes(rows)
    for first in range(0, count, CHUNK_ROWS):
        places = np.arange(first, min(first + CHUNK_ROWS, count))
        shared[places] = _shared(strings, rows, places)
        whole = sizes[places]
        letters = np.arange(int(whole.sum())) - np.repeat(np.cumsum(whole) - whole, whole)
        kept = letters >= np.repeat(shared[places], whole)
        parts.append(strings.gather(strings.pieces(rows[places])[0])[kept])
    offsets = np.concatenate([[0], np.cumsum(sizes - shared)])
    place = np.zeros(0, np.uint16)
    if order is not None:
        place = np.empty(count, narrow(count))
        place[rows] = np.arange(count)
    return Fronted(np.concatenate(parts), *Fronted.divided(offsets), shared, place)


def _shared(
    strings: Strings, rows: NDArray[np.int64], places: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many bytes each of ``places`` [B] has in common with the one that it refers to."""
    here, there = rows[places], rows[places & places - 1]
    most = np.minimum(np.minimum(strings.sizes(here), strings.sizes(there)), _MOST_SHARED)
    width = int(most.max())
    pair = (strings.padded(one, width).view(np.uint8).reshape(-1, width) for one in (here, there))
    differs = np.not_equal(*pair)
    first = np.where(differs.any(axis=1), differs.argmax(axis=1), width)
    return np.where(places % _GROUP, np.minimum(first, most), 0)


def narrow(count: int) -> type[np.unsignedinteger]:
    """The type of numbers below ``count``."""
    return np.uint16 if count <= 1 << 16 else np.uint32

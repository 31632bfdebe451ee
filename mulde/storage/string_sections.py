"""String columns in the sections of a file: to write, to read and to check.

Shape letters: n strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mulde.errors import BundleError
from mulde.storage.strings import CHUNK_ROWS, GROUP, MAX_BYTES, StringColumn
from mulde.typing import Array, Rows

PLAIN = {"data": ("u1",), "starts": ("u4", "u8"), "ends": ("u1", "u2", "u4")}
"""The arrays of a column and the types they may have."""

FRONT_CODED = {"shared": ("u1",), "places": ("u2", "u4")}
"""Further arrays of a front-coded column; both are empty in a plain one."""

_TEXT_ROWS = 1 << 12
"""Strings whose text is checked at a time, up to 16 MB."""


def sections(name: str, parts: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """``PLAIN`` or ``FRONT_CODED`` as the sections of a column."""
    return {f"{name}.{part}": types for part, types in parts.items()}


def column_arrays(column: StringColumn, name: str) -> dict[str, Array]:
    """The arrays to write, by the names that ``read_column`` reads."""
    shared = np.zeros(0, np.uint8) if column.shared is None else column.shared
    places = np.zeros(0, np.uint16) if column.places is None else column.places
    parts = (column.data, column.starts, column.ends, shared, places)
    return {f"{name}.{part}": array for part, array in zip(PLAIN | FRONT_CODED, parts, strict=True)}


def read_column(path: Path, name: str, arrays: Mapping[str, Array]) -> StringColumn:
    """A column from mapped arrays; those of ``FRONT_CODED`` may be absent.

    Raises:
        BundleError: if their sizes do not fit; ``check_column`` reads their content.
    """
    data, starts, ends = (arrays[f"{name}.{part}"] for part in PLAIN)
    found = (arrays.get(f"{name}.{part}") for part in FRONT_CODED)
    shared, places = (None if array is None or not len(array) else array for array in found)
    column = StringColumn(data, starts, ends, shared, places)
    if len(starts) != -(-len(ends) // column.block):
        raise BundleError(path, f"{name}: expected one start for each {column.block} strings")
    if any(array is not None and len(array) != len(ends) for array in (shared, places)):
        raise BundleError(path, f"{name}: expected what each of {len(ends)} strings leaves out")
    if shared is None and places is not None:
        raise BundleError(path, f"{name}: expected no places of strings that are whole")
    return column


def check_column(path: Path, name: str, column: StringColumn) -> None:
    """Read everything once and refuse damaged columns: bounds, sizes, UTF-8, separators.

    Raises:
        BundleError: naming the file, the column and what is wrong with it.
    """
    _check_bounds(path, name, column)
    _check_shared(path, name, column)
    if (column.data == 0).any() or (column.data == ord("\n")).any():
        raise BundleError(path, f"{name}: a string holds NUL or a line feed")
    for places in _chunks(column):
        sizes = column.sizes_at(places)
        if (sizes < 1).any() or (sizes > MAX_BYTES).any():
            raise BundleError(path, f"{name}: expected strings of 1 to {MAX_BYTES} bytes")
    for rows in _chunks(column, _TEXT_ROWS):
        try:
            # A line feed within a character is not UTF-8, so each string must be.
            column.joined(rows).decode()
        except UnicodeDecodeError as error:
            raise BundleError(path, f"{name}: expected UTF-8, found other bytes") from error


def _check_bounds(path: Path, name: str, column: StringColumn) -> None:
    """Refuse strings that do not follow one another or do not fill ``data``."""
    end = 0
    for places in _chunks(column):
        starts, stops = column.bounds(places)
        if (starts != np.concatenate([[end], stops[:-1]])).any() or stops[-1] > column.data.size:
            raise BundleError(path, f"{name}: the strings must follow one another")
        end = int(stops[-1])
        if (stops < starts).any():
            raise BundleError(path, f"{name}: expected strings of 1 to {MAX_BYTES} bytes")
    if end != column.data.size:
        raise BundleError(path, f"{name}: the strings must fill their {column.data.size} bytes")


def _check_shared(path: Path, name: str, column: StringColumn) -> None:
    """Refuse strings that share what is not there, and rows that share a place."""
    if column.shared is None:
        return
    if column.shared[::GROUP].any():
        raise BundleError(path, f"{name}: the first of {GROUP} strings must be whole")
    for places in _chunks(column):
        if (column.shared[places] > column.sizes_at(places & places - 1)).any():
            raise BundleError(path, f"{name}: a string begins with more than there is")
    if column.places is not None and not is_permutation(column.places):
        raise BundleError(path, f"{name}: expected each place once")


def is_permutation(numbers: Array) -> bool:
    """Whether numbers [n] are 0..n-1 in some order."""
    seen = np.zeros(len(numbers), dtype=bool)
    seen[numbers[numbers < len(numbers)]] = True
    return bool(seen.all())


def _chunks(column: StringColumn, step: int = CHUNK_ROWS) -> list[Rows]:
    """Places, or rows, of all strings in runs."""
    count = len(column)
    return [np.arange(first, min(first + step, count)) for first in range(0, count, step)]

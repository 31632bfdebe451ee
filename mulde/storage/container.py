"""Named arrays in one file, mapped when read: the container of every ``.bin`` file of a bundle.

    bytes 0..7    magic, which says what the file is
    bytes 8..11   version of that file, uint32
    bytes 12..15  number of sections S, uint32
    S x 48 bytes  name (24, zero-padded), dtype (8, zero-padded), offset and count (uint64 each)
    ...           the arrays, each at a multiple of 64, in the order of their table

All numbers are little-endian. The first section, ``model_id``, holds 32 bytes that
``mulde.bundle.model_id`` sets; files of older bundles do not have it. A reader says which arrays
of which type it expects; anything else is refused.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mulde.errors import BundleError
from mulde.typing import Array

MODEL_ID = "model_id"
UNSET_ID = bytes(32)

_HEAD = struct.Struct("<8sII")
_ENTRY = struct.Struct("<24s8sQQ")
_ALIGNMENT = 64
_MAX_SECTIONS = 64
_PIECE = 1 << 20


def write_sections(path: Path, magic: bytes, version: int, arrays: Mapping[str, Array]) -> None:
    """Write one-dimensional arrays to a new file.

    Args:
        path: a file that does not exist.
        magic: 8 bytes.
        version: of this kind of file, at least 1.
        arrays: by name (at most 24 ASCII characters); integers or floats of 1 to 8 bytes.
    """
    arrays = {MODEL_ID: np.frombuffer(UNSET_ID, np.uint8), **arrays}
    entries, blocks, place = [], [], _HEAD.size + _ENTRY.size * len(arrays)
    for name, array in arrays.items():
        place = _align(place)
        flat = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        entries.append(_ENTRY.pack(name.encode("ascii"), _code(flat), place, flat.size))
        blocks.append((place, flat))
        place += flat.nbytes
    with path.open("xb") as file:
        file.write(_HEAD.pack(magic, version, len(arrays)) + b"".join(entries))
        for start, flat in blocks:
            _write_at(file, start, flat)


def read_sections(
    path: Path,
    magic: bytes,
    version: int,
    expected: Mapping[str, tuple[str, ...]],
    further: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Array]:
    """Map the arrays of a file; nothing is copied, and nothing is read but the header.

    Args:
        path: a file that ``write_sections`` made.
        magic: what the file must be.
        version: the newest version that the caller understands.
        expected: for each section, the dtypes that it may have, such as ``("u4", "u8")``.
        further: the same for sections that a file may lack.

    Returns:
        Read-only arrays by name.

    Raises:
        BundleError: if the file is missing, foreign, newer, cut short or not what was expected.
    """
    view = _map(path)
    if len(view) < _HEAD.size:
        raise BundleError(path, f"expected at least {_HEAD.size} bytes, found {len(view)}")
    found_magic, found_version, count = _HEAD.unpack_from(view)
    if found_magic != magic:
        raise BundleError(path, f"expected a file that starts with {magic!r}, found another kind")
    if not 1 <= found_version <= version:
        raise BundleError(path, f"expected version 1 to {version}, found {found_version}")
    if count > _MAX_SECTIONS or len(view) < _HEAD.size + _ENTRY.size * count:
        raise BundleError(path, f"its table of {count} sections does not fit the file")
    allowed = {MODEL_ID: ("u1",), **expected, **(further or {})}
    arrays = dict(_sections(path, view, count, allowed))
    arrays.pop(MODEL_ID, None)
    missing = set(expected) - set(arrays)
    if missing:
        raise BundleError(path, f"expected the section {min(missing)!r}, found none")
    return arrays


def read_model_id(path: Path) -> bytes | None:
    """The 32 bytes of ``model_id``; None if the file has no such section."""
    place = _place_of_id(path)
    with path.open("rb") as file:
        file.seek(place or 0)
        return file.read(len(UNSET_ID)) if place else None


def write_model_id(path: Path, model_id: bytes) -> bool:
    """Set the 32 bytes of ``model_id`` in place; False if the file has no such section."""
    place = _place_of_id(path)
    if place is None:
        return False
    with path.open("r+b") as file:
        file.seek(place)
        file.write(model_id)
    return True


def _place_of_id(path: Path) -> int | None:
    """Where ``model_id`` is; it is the first section of each file that has it."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size + _ENTRY.size)
        size = file.seek(0, os.SEEK_END)
    if len(head) < _HEAD.size + _ENTRY.size:
        return None
    name, _, start, count = _ENTRY.unpack_from(head, _HEAD.size)
    found = name.rstrip(b"\0") == MODEL_ID.encode() and count == len(UNSET_ID)
    return start if found and start + count <= size else None


def check_offsets(path: Path, name: str, offsets: Array, total: int) -> None:
    """Refuse compressed rows that reach outside their values.

    Args:
        path: the file to name.
        name: the section to name.
        offsets: [n + 1]; must start at 0, never fall and end at ``total``.
        total: number of values.

    Raises:
        BundleError: otherwise.
    """
    if offsets.size == 0 or offsets[0] != 0 or offsets[-1] != total:
        raise BundleError(path, f"{name} must run from 0 to {total}")
    if (offsets[1:] < offsets[:-1]).any():
        raise BundleError(path, f"{name} must not fall")


def check_rising(path: Path, name: str, values: Array, offsets: Array) -> None:
    """Refuse compressed rows whose values do not rise within a row; reads them in pieces.

    Args:
        path: the file to name.
        name: what the values are.
        values: [offsets[-1]].
        offsets: as ``check_offsets`` accepts them.

    Raises:
        BundleError: if a value is not above the one before, except at the start of a row.
    """
    for start in range(0, len(values) - 1, _PIECE):
        piece = values[start : start + _PIECE + 1]
        falls = np.flatnonzero(piece[1:] <= piece[:-1]) + start + 1
        if (offsets[np.searchsorted(offsets, falls.astype(offsets.dtype))] != falls).any():
            raise BundleError(path, f"{name} must rise")


def _sections(
    path: Path, view: mmap.mmap, count: int, expected: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, Array]]:
    """Each named array, after checking that it is expected and lies in its place."""
    end = _HEAD.size + _ENTRY.size * count
    for index in range(count):
        raw_name, raw_code, start, size = _ENTRY.unpack_from(view, _HEAD.size + _ENTRY.size * index)
        name = raw_name.rstrip(b"\0").decode("ascii", "replace")
        code = raw_code.rstrip(b"\0").decode("ascii", "replace")
        if name not in expected:
            raise BundleError(path, f"section {name!r} is not known or comes twice")
        if code not in expected[name]:
            wanted = " or ".join(expected[name])
            raise BundleError(path, f"section {name!r}: expected type {wanted}, found {code!r}")
        expected = {key: value for key, value in expected.items() if key != name}
        dtype = np.dtype(f"<{code}")
        if start != _align(end) or start + size * dtype.itemsize > len(view):
            raise BundleError(path, f"section {name!r} is not where it must be; is the file cut?")
        end = start + size * dtype.itemsize
        yield name, np.frombuffer(view, dtype=dtype, count=size, offset=start)
    if end != len(view):
        raise BundleError(path, f"expected {end} bytes, found {len(view)}")


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise BundleError(path, f"cannot be mapped: {error}") from error


def _write_at(file: BinaryIO, start: int, flat: Array) -> None:
    file.write(b"\0" * (start - file.tell()))
    file.write(flat.data)


def _align(place: int) -> int:
    return -(-place // _ALIGNMENT) * _ALIGNMENT


def _code(array: Array) -> bytes:
    return f"{array.dtype.kind}{array.dtype.itemsize}".encode("ascii")

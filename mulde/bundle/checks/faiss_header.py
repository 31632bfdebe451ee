"""The head of ``entities.faiss``, looked at before FAISS sees any of it.

FAISS reads some forty kinds of index, and believes the sizes that a file claims. A table is one of
four kinds, and all before its codes follows from the manifest, so it is compared byte by byte; but
for the ranges of columns, which only must be finite:

    4 bytes   "IxFI" (Flat) or "IxSQ" (scalar quantiser)
    int32     W
    int64     E, then two numbers that FAISS writes and ignores
    byte      1: trained
    int32     0: inner product
    IxSQ      int32 4 (fp16), 0 (8 bits) or 1 (4 bits), int32 0, float32 0, uint64 W,
              uint64 bytes of a row, uint64 0 (nothing trained) or 2 W and so many float32:
              the low end and then the span of each column
    uint64    number of codes: E W floats, or the bytes of all rows

All numbers are little-endian; then come the codes, to the end of the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mulde.bundle.table.quantised_table import Codec
from mulde.errors import BundleError

Number = type[np.float16] | type[np.float32] | Codec

_HEAD = struct.Struct("<4siqqqBi")
_CODEC = struct.Struct("<iifQQQ")
_COUNT = struct.Struct("<Q")
_RANGES = _HEAD.size + _CODEC.size
_IGNORED = 1 << 20
_WIDEST = 1 << 20
_MOST_ROWS = 1 << 40


@dataclass(frozen=True)
class _Kind:
    """One kind of scalar quantiser: its number in FAISS, bits of a code, whether it has ranges."""

    number: int
    bits: int
    ranged: bool

    def ranges(self, width: int) -> int:
        """Bytes of the ranges of columns."""
        return 8 * width if self.ranged else 0


_KINDS = (_Kind(4, 16, False), _Kind(0, 8, True), _Kind(1, 4, True))


def check_table(path: Path, entities: int, width: int) -> Number:
    """Refuse a file that is not a table of E rows and W columns; how its numbers are stored.

    Raises:
        BundleError: naming the file, what was expected and found.
    """
    if width > _WIDEST or entities > _MOST_ROWS:
        raise BundleError(path, f"expected a table of bytes, found {entities} rows of {width}")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_RANGES + 8 * width + _COUNT.size)
    except OSError as error:
        raise BundleError(path, f"cannot be read: {error}") from error
    if start[:4] == b"IxFI":
        _check_size(path, size, _HEAD.size + _COUNT.size, 4 * entities * width)
        _check_head(path, start, _flat(entities, width), entities, width)
        return np.float32
    if start[:4] != b"IxSQ":
        wanted = "expected an inner-product index, Flat or with scalars of 16, 8 or 4 bits"
        raise BundleError(path, f"{wanted}, found one that starts with {start[:4]!r}")
    kind = _kind(start)
    ranges = start[_RANGES : _RANGES + kind.ranges(width)]
    length = _RANGES + kind.ranges(width) + _COUNT.size
    _check_size(path, size, length, entities * width * kind.bits // 8)
    _check_head(path, start, _scalars(kind, entities, width, ranges), entities, width)
    if not kind.ranged:
        return np.float16
    low, span = np.frombuffer(ranges, dtype="<f4").astype(np.float32).reshape(2, width)
    if not (np.isfinite(low).all() and np.isfinite(span).all() and (span >= 0).all()):
        raise BundleError(path, "the range of a column is not finite")
    return Codec(kind.bits, low, span)


def _check_size(path: Path, size: int, head: int, codes: int) -> None:
    if size != head + codes:
        raise BundleError(path, f"expected {head + codes} bytes of a table, found {size}")


def _flat(entities: int, width: int) -> bytes:
    return _head(b"IxFI", entities, width) + _COUNT.pack(entities * width)


def _scalars(kind: _Kind, entities: int, width: int, ranges: bytes) -> bytes:
    row_bytes = width * kind.bits // 8
    codec = _CODEC.pack(kind.number, 0, 0.0, width, row_bytes, len(ranges) // 4)
    return _head(b"IxSQ", entities, width) + codec + ranges + _COUNT.pack(entities * row_bytes)


def _kind(start: bytes) -> _Kind:
    """The kind that the file claims; fp16 if it is none of these, to be found different."""
    (number,) = struct.unpack("<i", start[_HEAD.size : _HEAD.size + 4].ljust(4, b"\xff"))
    return next((kind for kind in _KINDS if kind.number == number), _KINDS[0])


def _check_head(path: Path, start: bytes, head: bytes, entities: int, width: int) -> None:
    if start[: len(head)] != head:
        raise BundleError(path, _difference(start, entities, width))


def _head(kind: bytes, entities: int, width: int) -> bytes:
    return _HEAD.pack(kind, width, entities, _IGNORED, _IGNORED, 1, 0)


def _difference(start: bytes, entities: int, width: int) -> str:
    """Which of the sizes is another one, if it is that."""
    found = _HEAD.unpack(start[: _HEAD.size].ljust(_HEAD.size, b"\0"))
    rows, columns = found[2], found[1]
    if (rows, columns) != (entities, width):
        return f"expected {entities} rows of {width} numbers, found {rows} of {columns}"
    return "expected an inner-product index, Flat or with scalars, found another head"

"""The head of ``entities.faiss``, looked at before FAISS sees any of it.

FAISS reads some forty kinds of index, and believes the sizes that a file claims. A table is one of
two kinds, and all before its codes follows from the manifest, so it is compared byte by byte:

    4 bytes   "IxFI" (Flat) or "IxSQ" (scalar quantiser)
    int32     W
    int64     E, then two numbers that FAISS writes and ignores
    byte      1: trained
    int32     0: inner product
    IxSQ      int32 4 (fp16), int32 0, float32 0 (no range), uint64 W, uint64 2 W (bytes of a row),
              uint64 0 (nothing trained)
    uint64    number of codes: E W floats, or 2 E W bytes

All numbers are little-endian; then come the codes, to the end of the file.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from mulde.errors import BundleError

Number = type[np.float16] | type[np.float32]

_HEAD = struct.Struct("<4siqqqBi")
_CODEC = struct.Struct("<iifQQQ")
_COUNT = struct.Struct("<Q")
_IGNORED = 1 << 20
_FP16 = 4
_WIDEST = 2**31 - 1


def check_table(path: Path, entities: int, width: int) -> Number:
    """Refuse a file that is not a table of E rows and W columns; the type of its numbers.

    Raises:
        BundleError: naming the file, what was expected and found.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_HEAD.size + _CODEC.size + _COUNT.size)
    except OSError as error:
        raise BundleError(path, f"cannot be read: {error}") from error
    kinds: dict[bytes, Number] = {b"IxFI": np.float32, b"IxSQ": np.float16}
    kind = kinds.get(start[:4])
    if kind is None:
        wanted = "expected an inner-product index, Flat or with fp16 scalars"
        raise BundleError(path, f"{wanted}, found one that starts with {start[:4]!r}")
    length = _HEAD.size + _COUNT.size + (_CODEC.size if kind is np.float16 else 0)
    expected = length + entities * width * np.dtype(kind).itemsize
    if size != expected or width > _WIDEST:
        raise BundleError(path, f"expected {expected} bytes of a table, found {size}")
    head = (_flat if kind is np.float32 else _halves)(entities, width)
    if start[:length] != head:
        raise BundleError(path, _difference(start, entities, width))
    return kind


def _flat(entities: int, width: int) -> bytes:
    return _head(b"IxFI", entities, width) + _COUNT.pack(entities * width)


def _halves(entities: int, width: int) -> bytes:
    codec = _CODEC.pack(_FP16, 0, 0.0, width, 2 * width, 0)
    return _head(b"IxSQ", entities, width) + codec + _COUNT.pack(2 * entities * width)


def _head(kind: bytes, entities: int, width: int) -> bytes:
    return _HEAD.pack(kind, width, entities, _IGNORED, _IGNORED, 1, 0)


def _difference(start: bytes, entities: int, width: int) -> str:
    """Which of the sizes is another one, if it is that."""
    found = _HEAD.unpack(start[: _HEAD.size].ljust(_HEAD.size, b"\0"))
    rows, columns = found[2], found[1]
    if (rows, columns) != (entities, width):
        return f"expected {entities} rows of {width} numbers, found {rows} of {columns}"
    return "expected an inner-product index, Flat or with fp16 scalars, found another head"

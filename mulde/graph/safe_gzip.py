"""Packed files (gzip), unpacked within bounds: few bytes on a disk can stand for a thousandfold.

A file that somebody sent may be a bomb: gzip makes up to 1,000 bytes of one, so what fits into a
mail fills all memory. Names and triples pack to a tenth or a twentieth of their size. So a file may
grow 100 times, which no graph needs, and never beyond 4 GiB, some ten times the text of Wikidata5M.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from mulde.errors import DatasetError

MOST_TIMES = 100
"""How many bytes may come of one."""
ALWAYS_BYTES = 64 << 20
"""What may come of any file: a small one may say the same again and again, and do no harm."""
MOST_BYTES = 4 << 30
_PIECE_BYTES = 1 << 20


def most_bytes(packed_bytes: int) -> int:
    """How many bytes may come of a file of that size."""
    return min(MOST_BYTES, max(ALWAYS_BYTES, MOST_TIMES * packed_bytes))


def unpack(path: Path) -> bytes:
    """The content of a gzip file; no more of it is ever held than is allowed.

    Raises:
        DatasetError: if it cannot be read, is damaged, or holds more than ``most_bytes``.
    """
    content = bytearray()
    try:
        packed_bytes = path.stat().st_size
        most = most_bytes(packed_bytes)
        with gzip.open(path) as file:
            while piece := file.read(_PIECE_BYTES):
                content += piece
                if len(content) > most:
                    raise DatasetError(path, _too_much(most, packed_bytes))
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(path, f"cannot be read: {error}") from error
    return bytes(content)


def _too_much(most: int, packed_bytes: int) -> str:
    expected = f"expected at most {most:,} bytes of a packed file of {packed_bytes:,}"
    return f"{expected}, found more; unpack it yourself if that is right"

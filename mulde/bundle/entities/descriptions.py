"""A sentence or two about each entity, compressed: ``descriptions.bin``.

Texts are stored in blocks of 64, each compressed by zlib, so that one text costs the decompression
of one block: some 20 microseconds. No answer depends on them.

Shape letters: E entities, n blocks, N bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mulde.errors import BundleError
from mulde.storage.container import read_sections, write_sections
from mulde.typing import Array

MAGIC = b"MULDEDES"
VERSION = 1
BLOCK = 64
"""Texts that are compressed together."""
MAX_DESCRIPTION_BYTES = 1 << 16
"""The longest description, in bytes of UTF-8."""

_MAX_BLOCK_BYTES = BLOCK * (MAX_DESCRIPTION_BYTES + 1)
_EXPECTED = {"entities": ("u4",), "data": ("u1",), "ends": ("u4", "u8")}


@dataclass(frozen=True)
class Descriptions:
    """Texts by row; an entity without one has an empty text.

    Attributes:
        num_entities: E.
        data: uint8 [N], compressed blocks one after another.
        ends: uint32 or uint64 [n], where each block ends.
        path: of the file, for errors.
    """

    num_entities: int
    data: Array
    ends: Array
    path: Path = Path()

    @classmethod
    def build(cls, texts: Sequence[str]) -> Descriptions:
        """Pack the texts [E] of all entities.

        Raises:
            ValueError: if one holds a line feed or is longer than ``MAX_DESCRIPTION_BYTES``.
        """
        blocks = []
        for start in range(0, len(texts), BLOCK):
            lines = [text.encode() for text in texts[start : start + BLOCK]]
            if any(len(line) > MAX_DESCRIPTION_BYTES or b"\n" in line for line in lines):
                raise ValueError(f"expected one line of at most {MAX_DESCRIPTION_BYTES:,} bytes")
            blocks.append(zlib.compress(b"\n".join(lines), 9))
        ends = np.cumsum([len(block) for block in blocks], dtype=np.uint64)
        if not len(ends) or ends[-1] < 1 << 32:
            ends = ends.astype(np.uint32)
        return cls(len(texts), np.frombuffer(b"".join(blocks), np.uint8), ends)

    def of(self, row: int) -> str:
        """Return the text of a row in [0, E); empty where there is none.

        Raises:
            BundleError: if its block cannot be decompressed.
        """
        return self._block(row // BLOCK)[row % BLOCK]

    def texts(self) -> list[str]:
        """Return the texts of all rows [E]."""
        return [text for number in range(len(self.ends)) for text in self._block(number)]

    def write(self, path: Path) -> None:
        """Write ``descriptions.bin``, a new file."""
        count = np.array([self.num_entities], np.uint32)
        arrays = {"entities": count, "data": self.data, "ends": self.ends}
        write_sections(path, MAGIC, VERSION, arrays)

    @classmethod
    def read(cls, path: Path, *, check: bool = True) -> Descriptions:
        """Map a ``descriptions.bin``; ``check`` as in ``KnownFacts.read``.

        Raises:
            BundleError: if it is missing, damaged or foreign.
        """
        arrays = read_sections(path, MAGIC, VERSION, _EXPECTED)
        data, ends = arrays["data"], arrays["ends"]
        if arrays["entities"].size != 1:
            raise BundleError(path, "expected one number of entities")
        found = cls(int(arrays["entities"][0]), data, ends, path)
        if len(ends) != -(-found.num_entities // BLOCK):
            expected = f"expected {-(-found.num_entities // BLOCK)} blocks"
            raise BundleError(path, f"{expected}, found {len(ends)}")
        if len(ends) and (ends[-1] != len(data) or (ends[1:] < ends[:-1]).any()):
            raise BundleError(path, f"expected blocks in order, of {len(data)} bytes in all")
        if check:
            for number in range(len(ends)):
                found._block(number)
        return found

    def _block(self, number: int) -> list[str]:
        """Return the texts of a block."""
        start = int(self.ends[number - 1]) if number else 0
        expander = zlib.decompressobj()
        try:
            stored = self.data[start : int(self.ends[number])].tobytes()
            text = expander.decompress(stored, _MAX_BLOCK_BYTES)
            texts = text.decode().split("\n")
        except (zlib.error, UnicodeDecodeError) as error:
            raise BundleError(self.path, f"block {number} cannot be read: {error}") from error
        expected = min(BLOCK, self.num_entities - number * BLOCK)
        if not expander.eof or expander.unused_data or len(texts) != expected:
            raise BundleError(self.path, f"block {number}: expected {expected} texts")
        return texts

"""Open plain, gzip, bzip2 and Zstandard files, with a limit on what comes out of a packed one.

gzip makes up to 1,000 bytes of one, Zstandard far more, so a small file from elsewhere can fill all
memory. Triples pack to a tenth or a twentieth of their size. So a packed file may grow 100 times
and never beyond 4 GiB.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from mulde.errors import DatasetError

MOST_TIMES = 100
"""How many bytes may come of one."""
ALWAYS_BYTES = 64 << 20
"""What may come of any file: a small one may repeat itself and do no harm."""
MOST_BYTES = 4 << 30
SUFFIXES = (".gz", ".zst", ".bz2")

Progress = Callable[[str, int, int], None]
"""File name, bytes read so far, bytes of the file."""


def no_progress(name: str, done: int, total: int) -> None:
    """Report nothing."""


def most_bytes(packed_bytes: int) -> int:
    """How many bytes may come of a file of that size."""
    return min(MOST_BYTES, max(ALWAYS_BYTES, MOST_TIMES * packed_bytes))


def plain_suffix(path: Path) -> str:
    """The suffix that names the format: ``.csv`` of ``facts.csv.gz``, in lower case."""
    inner = Path(path.stem) if path.suffix.lower() in SUFFIXES else path
    return inner.suffix.lower()


class BoundedFile(io.RawIOBase):
    """The content of a file, unpacked, that raises ``DatasetError`` beyond its limit."""

    def __init__(self, path: Path, progress: Progress = no_progress) -> None:
        super().__init__()
        self.path, self._progress, self._came = path, progress, 0
        try:
            self._size = path.stat().st_size
            self._raw = path.open("rb")
        except OSError as error:
            raise DatasetError(path, f"cannot be read: {error.strerror}") from error
        packed = path.suffix.lower() in SUFFIXES
        self._most = most_bytes(self._size) if packed else None
        self._file = _unpacked(self._raw, path.suffix.lower())

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there is content."""
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; all for -1; none at the end."""
        if size < 0:
            return self.readall()
        try:
            piece = self._file.read(size)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise DatasetError(self.path, f"cannot be read: {error}") from error
        self._came += len(piece)
        if self._most is not None and self._came > self._most:
            raise DatasetError(self.path, _too_much(self._most, self._size))
        self._progress(self.path.name, self._raw.tell(), self._size)
        return bytes(piece)

    def readall(self) -> bytes:
        """The rest, piece by piece, so that no more than the limit is ever held."""
        content = bytearray()
        while piece := self.read(1 << 20):
            content += piece
        return bytes(content)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._raw.close()
        super().close()


def unpack(path: Path) -> bytes:
    """The content of a file, packed or plain.

    Raises:
        DatasetError: if it cannot be read, is damaged, or holds more than ``most_bytes``.
    """
    with BoundedFile(path) as file:
        return file.readall()


def _unpacked(raw: BinaryIO, suffix: str) -> Any:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=raw)
    if suffix == ".bz2":
        return bz2.BZ2File(raw)
    if suffix == ".zst":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
    return raw


def _too_much(most: int, packed_bytes: int) -> str:
    expected = f"expected at most {most:,} bytes of a packed file of {packed_bytes:,}"
    return f"{expected}, found more; unpack it yourself if that is right"

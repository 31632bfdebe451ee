"""Strict lines ``head<TAB>relation<TAB>tail`` of a graph folder, as Arrow columns.

The text of a file is UTF-8 with LF or CRLF; a byte order mark and a missing last line end do not
matter. Quotes and spaces belong to names.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mulde.errors import DatasetError, shorten
from mulde.graph.reading.compressed import BoundedFile, Progress, no_progress, unpack
from mulde.storage.strings import MAX_BYTES

_BOM = b"\xef\xbb\xbf"
_BLOCK_BYTES = 16 << 20
_THREADS = min(4, os.cpu_count() or 1)

T = TypeVar("T")


def read_text(path: Path) -> str:
    """A UTF-8 text file, packed or plain, with LF after each line and no BOM.

    Raises:
        DatasetError: if it cannot be read, is damaged or far larger than its packed size, is not
            UTF-8 or holds NUL or a carriage return that ends no line (with the line).
    """
    raw = unpack(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1  # without the BOM that raw may have
        raise DatasetError(path, "expected UTF-8, found other bytes", line) from error
    text = text.replace("\r\n", "\n")
    for character in "\0\r":
        place = text.find(character)
        if place >= 0:
            problem = f"expected lines of text that end in LF or CRLF, found {character!r}"
            raise DatasetError(path, problem, text.count("\n", 0, place) + 1)
    return text if text.endswith("\n") or not text else text + "\n"


def split_fields(path: Path, text: str, width: int = 3) -> list[list[str]]:
    """Columns of a tab-separated text whose lines all have ``width`` non-empty fields.

    Raises:
        DatasetError: with the first line that has another number of fields, an empty one or one
            that is longer than a vocabulary can keep.
    """
    text = text.removesuffix("\n")
    if not text:
        raise DatasetError(path, "expected at least one triple, found an empty file")
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split("\t")
        if len(fields) != width:
            found = f"found {len(fields)} in {shorten(line)}"
            raise DatasetError(path, f"expected {width} tab-separated fields, {found}", number)
        if "" in fields:
            empty = fields.index("") + 1
            raise DatasetError(path, f"field {empty} of {shorten(line)} is empty", number)
        if len(line) > MAX_BYTES // 4:  # UTF-8 needs at most 4 bytes a character
            refuse_long_names(path, fields, number)
        rows.append(fields)
    return [list(column) for column in zip(*rows, strict=True)]


def refuse_long_names(path: Path, names: list[str], line: int) -> None:
    """Refuse here what would only fail when the trained model is exported."""
    for name in names:
        size = len(name.encode())
        if size > MAX_BYTES:
            problem = f"expected names of at most {MAX_BYTES} bytes, found {size}: {shorten(name)}"
            raise DatasetError(path, problem, line)


class LineFile:
    """A file whose ``read`` gives its text as ``read_text`` does, and hashes it meanwhile.

    Attributes:
        digest: SHA-256 of the text so far.
    """

    closed = False

    def __init__(self, file: BoundedFile, digest: Any) -> None:
        self._file, self.digest = file, digest
        self._begun = False
        self._held, self._last = b"", b"\n"

    def read(self, size: int = -1) -> bytes:
        """About as many bytes of text; none at the end."""
        piece = self._file.read(size if size > 0 else _BLOCK_BYTES)
        if not self._begun:
            self._begun, piece = True, piece.removeprefix(_BOM)
        text, self._held = self._held + piece, b""
        if piece and text.endswith(b"\r"):  # its line feed may come next
            text, self._held = text[:-1], b"\r"
            if not text:
                return self.read(size)
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        if b"\r" in text or b"\0" in text:
            raise ValueError("a character that no line may hold")
        if not text and self._last != b"\n":
            text = b"\n"
        self._last = text[-1:] or self._last
        self.digest.update(text)
        return text

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._file.close()


def chunks(path: Path, digest: Any = None, progress: Progress = no_progress) -> Iterator[list[Any]]:
    """Heads, relations and tails of a file, some million lines at a time, dictionary-encoded.

    Args:
        path: plain or packed.
        digest: a hash that is fed with the text.
        progress: told the bytes that were read.

    Raises:
        DatasetError: naming the line that is malformed.
    """
    import pyarrow as pa
    from pyarrow import csv

    names = ["head", "relation", "tail"]
    encoded = pa.dictionary(pa.int32(), pa.string())
    parsing = csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False)
    converting = csv.ConvertOptions(column_types=dict.fromkeys(names, encoded))

    def parse(block: bytes) -> Any:
        reading = csv.ReadOptions(use_threads=False, column_names=names, block_size=len(block) + 1)
        table = csv.read_csv(pa.BufferReader(block), reading, parsing, converting)
        columns = [column.combine_chunks() for column in table.columns]
        if not all(_storable(column.dictionary) for column in columns):
            raise ValueError("an empty or a long field")
        return columns

    file = LineFile(BoundedFile(path, progress), digest or sha256())
    try:
        found = False
        for columns in in_threads(parse, line_blocks(file)):
            found = True
            yield columns
        if not found:
            raise ValueError("an empty file")
    except (pa.ArrowInvalid, ValueError) as error:
        split_fields(path, read_text(path))
        raise DatasetError(path, f"cannot be read as lines of text: {error}") from error
    finally:
        file.close()


def line_blocks(file: LineFile | BoundedFile) -> Iterator[bytes]:
    """The content of a file in blocks of whole lines."""
    rest = b""
    while piece := file.read(_BLOCK_BYTES):
        end = piece.rfind(b"\n") + 1
        if end:
            yield rest + piece[:end]
            rest = piece[end:]
        else:
            rest += piece
    if rest:
        yield rest


def in_threads(work: Callable[[bytes], T], blocks: Iterable[bytes]) -> Iterator[T]:
    """``work`` of each block, in order, some blocks ahead in threads."""
    ahead: deque[Future[T]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for block in blocks:
            ahead.append(pool.submit(work, block))
            if len(ahead) > _THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _storable(names: Any) -> bool:
    """Whether no name is empty or longer than a vocabulary can keep."""
    ends = np.frombuffer(names.buffers()[1], dtype=np.int32)[names.offset :][: len(names) + 1]
    sizes = np.diff(ends)
    return not len(sizes) or bool(sizes.min() > 0 and sizes.max() <= MAX_BYTES)

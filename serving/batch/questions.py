"""Questions on disk, read in shards: TSV, gzip of it, or Parquet, by the ending of the name.

A question is a triple whose head or tail is empty or ``?``. A TSV file has no header, unless its
first line is ``head<TAB>relation<TAB>tail``; a Parquet file has columns of these names.

Shape letters: B questions of a shard.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, repeat
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from mulde.errors import DatasetError, shorten
from mulde.storage.strings import MAX_BYTES

COLUMNS = ("head", "relation", "tail")
ASKED = frozenset({"", "?"})

_BLOCK = 1 << 20
_LONGEST_LINE = 1 << 16
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Questions:
    """A shard of a file.

    Attributes:
        first: number of the first question in its file, from 1.
        line: the line that it stands in (in Parquet the row), from 1.
        heads, relations, tails: [B], as they are written.
    """

    first: int
    line: int
    heads: list[str]
    relations: list[str]
    tails: list[str]

    def __len__(self) -> int:
        """B."""
        return len(self.heads)

    @cached_property
    def asks_head(self) -> NDArray[np.bool_]:
        """Whether the head is asked for, [B]; the tail otherwise."""
        return _asked(self.heads)

    @property
    def entities(self) -> list[str]:
        """The entities that are given, [B]."""
        heads, tails = (np.array(names, dtype=object) for names in (self.heads, self.tails))
        given: list[str] = np.where(self.asks_head, tails, heads).tolist()
        return given

    def check(self, path: Path) -> Questions:
        """The same, if each asks for exactly one of head and tail.

        Raises:
            DatasetError: naming the line that does not.
        """
        wrong = np.flatnonzero(self.asks_head == _asked(self.tails))
        if wrong.size:
            place = int(wrong[0])
            found = "both are" if self.asks_head[place] else "neither is"
            problem = f"expected head or tail to be empty or '?', but {found}"
            raise DatasetError(path, problem, self.line + place)
        _refuse_long_names(path, self)
        wrong = np.flatnonzero(_asked(self.relations))
        if wrong.size:
            raise DatasetError(path, "expected a relation, found none", self.line + int(wrong[0]))
        return self


def read_questions(path: Path, size: int) -> Iterator[Questions]:
    """Shards of ``size`` questions; the last one may be shorter.

    Raises:
        DatasetError: naming the file and, where there is one, the line: it cannot be read, is not
            UTF-8, or a line is no question.
    """
    read = _read_parquet if path.suffix == ".parquet" else _read_text
    try:
        for shard in read(path, size):
            yield shard.check(path)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(path, f"cannot be read: {error}") from error


def _refuse_long_names(path: Path, shard: Questions) -> None:
    """No vocabulary has such names, and to look them up would take memory for all of the shard."""
    for names in (shard.heads, shard.relations, shard.tails):
        sizes = list(map(len, names))
        if max(sizes, default=0) > MAX_BYTES:
            place = next(place for place, size in enumerate(sizes) if size > MAX_BYTES)
            problem = f"expected names of at most {MAX_BYTES} bytes, found {shorten(names[place])}"
            raise DatasetError(path, problem, shard.line + place)


def _asked(names: list[str]) -> NDArray[np.bool_]:
    return np.fromiter(map(ASKED.__contains__, names), dtype=bool, count=len(names))


def _read_text(path: Path, size: int) -> Iterator[Questions]:
    with path.open("rb") as raw:
        file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        lines = chain.from_iterable(_blocks(path, cast("BinaryIO", file)))
        start = list(islice(lines, 1))
        header = [line.removeprefix(_BOM).rstrip(b"\r") for line in start]
        start, line = ([], 2) if header == ["\t".join(COLUMNS).encode()] else (start, 1)
        lines, first = chain(start, lines), 1
        while shard := list(islice(lines, size)):
            yield Questions(first, line, *_split(path, shard, line))
            first, line = first + len(shard), line + len(shard)


def _blocks(path: Path, file: BinaryIO) -> Iterator[list[bytes]]:
    """Lines without their ends, as many at a time as a block of the file holds."""
    rest, count = b"", 0
    while block := file.read(_BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        count += len(lines)
        if len(rest) > _LONGEST_LINE:
            problem = f"expected lines of at most {_LONGEST_LINE} bytes"
            raise DatasetError(path, problem, count + 1)
        yield lines
    if rest:
        yield [rest]


def _split(path: Path, lines: list[bytes], line: int) -> list[list[str]]:
    """The three columns of lines, the first of which is line number ``line``."""
    raw = b"\n".join(lines)
    if line == 1:
        raw = raw.removeprefix(_BOM)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        place = line + raw.count(b"\n", 0, error.start)
        raise DatasetError(path, "expected UTF-8, found other bytes", place) from error
    text = (text + "\n").replace("\r\n", "\n")[:-1]
    for character in "\0\r":
        if character in text:
            place = line + text.count("\n", 0, text.index(character))
            raise DatasetError(path, f"expected text, found {character!r}", place)
    texts = text.split("\n")
    tabs = list(map(str.count, texts, repeat("\t")))
    if tabs.count(2) != len(tabs):
        place = next(place for place, count in enumerate(tabs) if count != 2)
        found = f"found {tabs[place] + 1} in {shorten(texts[place])}"
        raise DatasetError(path, f"expected 3 tab-separated fields, {found}", line + place)
    fields = text.replace("\n", "\t").split("\t")
    return [fields[column::3] for column in range(3)]


def _read_parquet(path: Path, size: int) -> Iterator[Questions]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            missing = [name for name in COLUMNS if schema.get_field_index(name) < 0]
            if missing:
                raise DatasetError(path, f"expected the column {missing[0]!r}, found none")
            batches = file.iter_batches(batch_size=size, columns=list(COLUMNS))
            parts = ([_texts(path, part.column(name)) for name in COLUMNS] for part in batches)
            yield from _regroup(parts, size)
    except pyarrow.ArrowException as error:
        raise DatasetError(path, f"cannot be read: {error}") from error


def _texts(path: Path, column: object) -> list[str]:
    """A column of Arrow strings; null is empty.

    Raises:
        DatasetError: if it holds something else.
    """
    import pyarrow

    array = cast("pyarrow.Array", column)
    kind = array.type.value_type if pyarrow.types.is_dictionary(array.type) else array.type
    if pyarrow.types.is_null(kind):
        return [""] * len(array)
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise DatasetError(path, f"expected columns of strings, found {array.type}")
    texts: list[str] = array.cast(pyarrow.string()).fill_null("").to_pylist()
    return texts


def _regroup(parts: Iterable[list[list[str]]], size: int) -> Iterator[Questions]:
    """Shards of ``size``, whatever groups of rows the file was written in."""
    first, columns = 1, [[], [], []]  # type: tuple[int, list[list[str]]]
    for part in chain(parts, [None]):
        if part is not None:
            columns = [column + more for column, more in zip(columns, part, strict=True)]
        while len(columns[0]) >= size or (part is None and columns[0]):
            yield Questions(first, first, *(column[:size] for column in columns))
            first += len(columns[0][:size])
            columns = [column[size:] for column in columns]

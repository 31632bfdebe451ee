"""Ranked answers on disk: TSV, gzip of it, or Parquet, by the ending of the name.

Each piece of a job becomes a part of its own; the parts joined in order are the file. The same
records in the same parts always give the same bytes.

Shape letters: A answers.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

_LEVEL = 6
_GROUP_ROWS = 1 << 20
_ESCAPES = str.maketrans({"\t": "\\t", "\r": "\\r", "\n": "\\n"})


@dataclass(frozen=True)
class Records:
    """Answers as columns; the order of the attributes is that of the file.

    Attributes:
        query: int64 [A], number of the question, from 1.
        head, relation, tail: [A], the question; ``?`` is what it asks for.
        rank: int64 [A], from 1.
        answer, label: [A], id and label of the entity.
        score: float64 [A].
        probability: float64 [A]; NaN where the bundle has no calibration, empty in the file.
        exact: bool [A], whether the answers to the question are certainly the exhaustive ones.
        known: bool [A], whether the answer is a known fact.
    """

    query: NDArray[np.int64]
    head: list[str]
    relation: list[str]
    tail: list[str]
    rank: NDArray[np.int64]
    answer: list[str]
    label: list[str]
    score: NDArray[np.float64]
    probability: NDArray[np.float64]
    exact: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def __len__(self) -> int:
        """A."""
        return len(self.query)


COLUMNS = tuple(field.name for field in fields(Records))
_TYPES = {
    "query": "int64", "rank": "int64", "score": "float64", "probability": "float64",
    "exact": "bool", "known": "bool",
}  # fmt: skip
"""Arrow's names of the types; all others are strings."""


class Writer(Protocol):
    """A part while it is written."""

    def write(self, records: Records) -> None:
        """Append answers."""

    def close(self) -> None:
        """Finish the part."""


class Format(Protocol):
    """How answers are kept."""

    def part(self, path: Path) -> Writer:
        """Begin a part."""

    def join(self, parts: Iterable[Path], target: Path) -> None:
        """Write the parts, in order, as one file."""


def format_of(path: Path) -> Format:
    """``.parquet`` is Parquet, ``.gz`` is gzip of TSV, everything else TSV.

    Raises:
        ModuleNotFoundError: for Parquet without pyarrow.
    """
    return _Parquet() if path.suffix == ".parquet" else _Text(zipped=path.suffix == ".gz")


def tab_separated(columns: Iterable[list[str]]) -> bytes:
    """Rows of columns as lines; a tab or line end within a name is written as in Python."""
    lines = list(map("\t".join, zip(*map(_cleaned, columns), strict=True)))
    return "\n".join([*lines, ""]).encode()


def _cleaned(column: list[str]) -> list[str]:
    text = "".join(column)
    if not any(character in text for character in "\t\r\n"):
        return column
    return [name.translate(_ESCAPES) for name in column]


class _Text:
    """TSV with a header; zipped, each part is a member of its own."""

    def __init__(self, *, zipped: bool) -> None:
        self._zipped = zipped

    def part(self, path: Path) -> Writer:
        return _TextWriter(path, zipped=self._zipped)

    def join(self, parts: Iterable[Path], target: Path) -> None:
        with target.open("wb") as file:
            with _zipping(file, self._zipped) as stream:
                stream.write(tab_separated([name] for name in COLUMNS))
            for path in parts:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, file)


class _TextWriter:
    def __init__(self, path: Path, *, zipped: bool) -> None:
        self._file = path.open("wb")
        self._zipped = zipped

    def write(self, records: Records) -> None:
        with _zipping(self._file, self._zipped) as stream:
            stream.write(tab_separated(_text(getattr(records, name)) for name in COLUMNS))

    def close(self) -> None:
        self._file.close()


@contextmanager
def _zipping(file: BinaryIO, zipped: bool) -> Iterator[BinaryIO]:
    """The file, or a gzip member in it that tells neither name nor time."""
    if not zipped:
        yield file
        return
    with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as stream:
        yield cast("BinaryIO", stream)


def _text(column: list[str] | NDArray[Any]) -> list[str]:
    """A column as text: numbers so that they read back to the same bits; NaN is empty."""
    if isinstance(column, list):
        return column
    if column.dtype == np.bool_:
        texts: list[str] = np.where(column, "true", "false").tolist()
        return texts
    if column.dtype == np.float64 and np.isnan(column).all():
        return [""] * len(column)
    return list(map(repr, column.tolist()))


class _Parquet:
    """Parts are Arrow files, which are mapped to join them; each becomes groups of rows."""

    def __init__(self) -> None:
        import pyarrow

        kinds = ((name, _TYPES.get(name, "string")) for name in COLUMNS)
        self._schema = pyarrow.schema(
            [(name, pyarrow.type_for_alias(kind)) for name, kind in kinds]
        )

    def part(self, path: Path) -> Writer:
        return _ArrowWriter(path, self._schema)

    def join(self, parts: Iterable[Path], target: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        with parquet.ParquetWriter(target, self._schema, compression="zstd") as file:
            for path in parts:
                with pyarrow.memory_map(str(path)) as mapped, closing(mapped):
                    table = pyarrow.ipc.open_file(mapped).read_all()
                    if len(table):
                        file.write_table(table, row_group_size=_GROUP_ROWS)


class _ArrowWriter:
    def __init__(self, path: Path, schema: Any) -> None:
        import pyarrow

        self._schema = schema
        self._file = pyarrow.ipc.new_file(str(path), schema)

    def write(self, records: Records) -> None:
        import pyarrow

        columns = {
            field.name: pyarrow.array(
                getattr(records, field.name),
                field.type,
                from_pandas=True,  # NaN is null
            )
            for field in self._schema
        }
        self._file.write_batch(pyarrow.record_batch(columns, self._schema))

    def close(self) -> None:
        self._file.close()

"""Ranked answers on disk: TSV, gzip of it, or Parquet, by the ending of the name.

Each piece of a job becomes a part of its own; the parts joined in order are the file. The same
records in the same parts always give the same bytes.

Shape letters: A answers.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

_LEVEL = 6
_GROUP_ROWS = 1 << 20
_DICTIONARY_BYTES = 1 << 23
_ESCAPES = str.maketrans({"\t": "\\t", "\r": "\\r", "\n": "\\n"})


@dataclass(frozen=True)
class Names:
    """A column of strings, most of them there several times.

    Attributes:
        places: int64 [A], which of the strings each is.
        strings: equal ones among them are allowed.
    """

    places: NDArray[np.int64]
    strings: list[str]


@dataclass(frozen=True)
class Records:
    """Answers as columns; the order of the attributes is that of the file.

    Attributes:
        query: int64 [A], number of the question, from 1.
        head, relation, tail: the question; ``?`` is what it asks for.
        rank: int64 [A], from 1.
        answer, label: id and label of the entity.
        score: float64 [A].
        probability: float64 [A]; NaN where the bundle has no calibration, empty in the file.
        exact: bool [A], whether the answers to the question are certainly the exhaustive ones.
        known: bool [A], whether the answer is a known fact.
    """

    query: NDArray[np.int64]
    head: Names
    relation: Names
    tail: Names
    rank: NDArray[np.int64]
    answer: Names
    label: Names
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


Join = Callable[[Path], None]
"""Appends a part; parts are joined in their order."""


class Format(Protocol):
    """How answers are kept."""

    def part(self, path: Path) -> Writer:
        """Begin a part."""

    def whole(self, target: Path) -> AbstractContextManager[Join]:
        """Begin the file that parts are joined to; it is whole at the end of the block."""


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

    @contextmanager
    def whole(self, target: Path) -> Iterator[Join]:
        with target.open("wb") as file:
            with _zipping(file, self._zipped) as stream:
                stream.write(tab_separated([name] for name in COLUMNS))

            def join(path: Path) -> None:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, file)

            yield join


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


def _text(column: Names | NDArray[Any]) -> list[str]:
    """A column as text: numbers so that they read back to the same bits; NaN is empty."""
    if isinstance(column, Names):
        return list(map(column.strings.__getitem__, column.places.tolist()))
    if column.dtype == np.bool_:
        texts: list[str] = np.where(column, "true", "false").tolist()
        return texts
    if column.dtype == np.float64 and np.isnan(column).all():
        return [""] * len(column)
    return list(map(repr, column.tolist()))


class _Parquet:
    """Parts are streams of Arrow, which are mapped to join them; each becomes a group of rows.

    Strings are kept as places in a dictionary until Parquet has them, which keeps them so too: each
    is written once for a group of rows, and nothing compares the others.
    """

    def __init__(self) -> None:
        import pyarrow

        names = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        kinds = ((name, _TYPES.get(name)) for name in COLUMNS)
        self._schema = pyarrow.schema(
            [(name, pyarrow.type_for_alias(kind) if kind else names) for name, kind in kinds]
        )

    def part(self, path: Path) -> Writer:
        return _ArrowWriter(path, self._schema)

    @contextmanager
    def whole(self, target: Path) -> Iterator[Join]:
        import pyarrow
        from pyarrow import parquet

        repeated = [name for name in COLUMNS if _TYPES.get(name) != "float64"]
        repeated = [name for name in repeated if _TYPES.get(name) != "bool"]
        with parquet.ParquetWriter(
            target,
            self._schema,
            compression="zstd",
            use_dictionary=repeated,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=list(_TYPES),
            store_schema=False,  # readers shall find plain strings
        ) as file:

            def join(path: Path) -> None:
                with pyarrow.memory_map(str(path)) as mapped, closing(mapped):
                    table = pyarrow.ipc.open_stream(mapped).read_all()
                    if len(table):
                        file.write_table(table.unify_dictionaries(), row_group_size=_GROUP_ROWS)

            yield join


class _ArrowWriter:
    def __init__(self, path: Path, schema: Any) -> None:
        import pyarrow

        self._schema = schema
        self._file = pyarrow.ipc.new_stream(str(path), schema)

    def write(self, records: Records) -> None:
        import pyarrow

        arrays = [_arrow(getattr(records, field.name), field.type) for field in self._schema]
        self._file.write_batch(pyarrow.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._file.close()


def _arrow(column: Names | NDArray[Any], kind: Any) -> Any:
    import pyarrow

    if not isinstance(column, Names):
        return pyarrow.array(column, kind, from_pandas=True)  # NaN is null
    # Parquet wants a dictionary without repetitions.
    coded = pyarrow.array(column.strings, pyarrow.string()).dictionary_encode()
    places = coded.indices.take(pyarrow.array(column.places))
    return pyarrow.DictionaryArray.from_arrays(places, coded.dictionary)

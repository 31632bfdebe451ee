"""Answers as Parquet.

Shape letters: A answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from serving.batch.records import COLUMNS, TYPES, Join, Names, Records, Writer

_GROUP_ROWS = 1 << 20
_DICTIONARY_BYTES = 1 << 23


class ParquetFile:
    """Parts are streams of Arrow, which are mapped to join them; each becomes a group of rows.

    Strings are kept as places in a dictionary until Parquet has them, which keeps them so too: each
    is written once for a group of rows, and nothing compares the others.
    """

    def __init__(self) -> None:
        import pyarrow

        names = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        kinds = ((name, TYPES.get(name)) for name in COLUMNS)
        self._schema = pyarrow.schema(
            [(name, pyarrow.type_for_alias(kind) if kind else names) for name, kind in kinds]
        )

    def part(self, path: Path) -> Writer:
        """Begin a part."""
        return _ArrowWriter(path, self._schema)

    @contextmanager
    def whole(self, target: Path) -> Iterator[Join]:
        """Begin the file that parts are joined to."""
        import pyarrow
        from pyarrow import parquet

        repeated = [name for name in COLUMNS if TYPES.get(name) != "float64"]
        repeated = [name for name in repeated if TYPES.get(name) != "bool"]
        with parquet.ParquetWriter(
            target,
            self._schema,
            compression="zstd",
            use_dictionary=repeated,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=list(TYPES),
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

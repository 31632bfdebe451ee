"""Tables with typed columns: Parquet files, Arrow tables, DataFrames of pandas and polars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mulde.errors import DatasetError, shorten
from mulde.graph.facts import Collector
from mulde.graph.reading.columns import (
    ACCEPT,
    NOT_ACCEPTED,
    accepted,
    find_columns,
    header_roles,
)
from mulde.graph.reading.compressed import most_bytes
from mulde.graph.reading.options import ReadOptions

_BATCH_ROWS = 1 << 20


def read_parquet(path: Path, options: ReadOptions, found: Collector) -> None:
    """Collect the facts of a Parquet file.

    Raises:
        DatasetError: if it is not Parquet, or its columns are not known.
    """
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _refuse_bomb(path, file.metadata)
            names = file.schema_arrow.names
            keys = [names[place] for place in places_of(path, names, options)]
            keys += [ACCEPT] if ACCEPT in names else []
            batches = file.iter_batches(_BATCH_ROWS, columns=keys)
            total = file.metadata.num_rows
            _collect(path, keys, batches, total, options, found)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(path, f"cannot be read as Parquet: {error}") from error


def _refuse_bomb(path: Path, metadata: Any) -> None:
    """Refuse what grows further than any packed file may; a fact has three bytes at least."""
    groups = range(metadata.num_row_groups)
    stored = sum(metadata.row_group(group).total_byte_size for group in groups)
    size = path.stat().st_size
    if max(stored, 3 * metadata.num_rows) > most_bytes(size):
        expected = f"expected at most {most_bytes(size):,} bytes of a Parquet file of {size:,}"
        found = f"found {metadata.num_rows:,} rows and {stored:,} bytes"
        raise DatasetError(path, f"{expected}, {found}")


def read_table(name: str, table: Any, options: ReadOptions, found: Collector) -> None:
    """Collect the facts of anything that Arrow can read as a table.

    Raises:
        DatasetError: if its columns are not known.
    """
    names = [str(column) for column in getattr(table, "columns", ())]
    if isinstance(table, (pa.Table, pa.RecordBatch)):
        names = table.column_names
    places = places_of(name, names, options)
    places += [names.index(ACCEPT)] if ACCEPT in names else []
    if hasattr(table, "iloc"):  # pandas; its other columns may hold what Arrow cannot
        table = table.iloc[:, places]
    arrow = table if isinstance(table, pa.Table) else pa.table(table)
    keys = [names[place] for place in places]
    batches = arrow.select(keys).to_batches(_BATCH_ROWS)
    _collect(name, keys, batches, arrow.num_rows, options, found)


def places_of(source: str | Path, names: Sequence[str], options: ReadOptions) -> list[int]:
    """Places of subject, predicate, object and time among columns.

    Raises:
        DatasetError: if they are not known: which columns there are, and what to type.
    """
    wanted = options.columns
    if wanted is None:
        roles = header_roles(names) or ((0, 1, 2) if len(names) == 3 else None)
        if roles is None:
            raise DatasetError(source, _unknown(names))
        wanted = tuple(str(place + 1) for place in roles)
    try:
        places = find_columns([*wanted, *([options.time] if options.time else [])], names)
    except LookupError as error:
        problem = f"no column is called {error.args[0]!r}; {_unknown(names)}"
        raise DatasetError(source, problem) from None
    if len(wanted) != 3:
        raise DatasetError(source, _unknown(names))
    return places


def _unknown(names: Sequence[str]) -> str:
    listed = ", ".join(map(shorten, names[:20]))
    expected = "expected columns of subject, predicate and object"
    option = "type --columns SUBJECT,PREDICATE,OBJECT with their names or numbers"
    return f"{expected}, found columns {listed}; {option}"


def _collect(
    source: str | Path,
    keys: Sequence[str],
    batches: Iterable[Any],
    total: int,
    options: ReadOptions,
    found: Collector,
) -> None:
    found.counts.sources.append(f"{Path(source).name}: columns {', '.join(keys[:3])}")
    row = 1
    for batch in batches:
        count = batch.num_rows
        if keys[-1] == ACCEPT:
            batch = batch.filter(accepted(batch.column(len(keys) - 1)))
            found.counts.left_out[NOT_ACCEPTED] += count - batch.num_rows
        columns = [batch.column(place) for place in range(len(keys))]
        times = columns[3].cast(pa.string()) if options.time else None
        found.add(source, columns[:3], times, row)
        row += count
        options.progress(Path(source).name, row - 1, total)

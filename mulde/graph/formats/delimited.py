"""Text with columns: TSV, CSV and the like, and the CSV of Neo4j's apoc.export."""

from __future__ import annotations

import csv as python_csv
import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from mulde.errors import DatasetError, shorten
from mulde.graph.facts import Collector
from mulde.graph.formats import neo4j
from mulde.graph.formats.layout import FileLayout, layout_of
from mulde.graph.reading.arrow import arrow_names
from mulde.graph.reading.columns import NOT_ACCEPTED, accepted
from mulde.graph.reading.compressed import BoundedFile
from mulde.graph.reading.lines import in_threads, line_blocks
from mulde.graph.reading.options import ReadOptions

_BLOCK_BYTES = 16 << 20


def read_delimited(path: Path, options: ReadOptions, found: Collector) -> None:
    """Collect the facts of a file.

    Raises:
        DatasetError: if its layout is not known, with the first lines and what to type; or naming
            the line that has another number of fields, an empty one, or other bytes than text.
    """
    layout = layout_of(path, options)
    found.counts.sources.append(f"{path.name}: {layout.text()}")
    row = 2 if layout.header else 1
    if layout.header and options.header is None:
        found.headers.append((str(path), layout.names[layout.columns[-2]]))
    with BoundedFile(path, options.progress) as file:
        try:
            for batch in _batches(file, layout):
                _collect(path, layout, options, batch, row, found)
                row += batch.num_rows
        except pa.ArrowInvalid as error:
            raise _explained(path, layout, str(error)) from error


def _batches(file: BoundedFile, layout: FileLayout) -> Iterator[Any]:
    """Tables of the wanted columns, named by their places.

    Lines without quotes can be divided anywhere between them, and are parsed in threads.
    """
    names = [str(place) for place in range(len(layout.names))]
    wanted = neo4j.wanted(layout.names) if layout.neo4j else [*layout.columns]
    if layout.time is not None:
        wanted.append(layout.time)
    if layout.accept is not None:
        wanted.append(layout.accept)
    keys = [names[place] for place in dict.fromkeys(wanted)]
    encoded = pa.dictionary(pa.int32(), pa.string())
    converting = csv.ConvertOptions(column_types=dict.fromkeys(keys, encoded), include_columns=keys)
    parsing = csv.ParseOptions(
        delimiter=layout.separator,
        quote_char='"' if layout.quoted else False,
        newlines_in_values=layout.quoted,
    )
    reading = {"column_names": names, "encoding": layout.encoding}
    if layout.quoted or layout.encoding != "utf-8":
        options = csv.ReadOptions(
            **reading, skip_rows=layout.skipped_lines, block_size=_BLOCK_BYTES
        )
        yield from csv.open_csv(pa.PythonFile(file, "r"), options, parsing, converting)
        return

    def parse(block: bytes) -> Any:
        options = csv.ReadOptions(**reading, use_threads=False, block_size=len(block) + 1)
        table = csv.read_csv(pa.BufferReader(block), options, parsing, converting)
        return table.combine_chunks().to_batches()

    blocks = _after(line_blocks(file), layout.skipped_lines)
    yield from chain.from_iterable(in_threads(parse, blocks))


def _after(blocks: Iterator[bytes], lines: int) -> Iterator[bytes]:
    """Blocks without the first lines, a byte order mark and empty blocks."""
    first = next(blocks, b"").removeprefix(b"\xef\xbb\xbf")
    for _ in range(lines):
        first = first.partition(b"\n")[2]
    yield from (block for block in chain([first], blocks) if block.strip())


def _collect(
    path: Path, layout: FileLayout, options: ReadOptions, batch: Any, row: int, found: Collector
) -> None:
    if layout.neo4j:
        neo4j.collect_csv(path, layout.names, batch, row, found)
        return
    if layout.accept is not None:
        batch = _accepted(batch, str(layout.accept), found)
    columns = [batch.column(str(place)) for place in layout.columns]
    if options.relation is not None:
        columns.insert(1, arrow_names([options.relation] * batch.num_rows))
    if row == 1 and not layout.certain and batch.num_rows:
        found.first.append((str(path), tuple(column[0].as_py() for column in columns)))
    times = None
    if layout.time is not None:
        times = batch.column(str(layout.time)).dictionary_decode()
    found.add(path, columns, times, row)


def _accepted(batch: Any, name: str, found: Collector) -> Any:
    """The rows that a curator accepted; the others are counted."""
    kept = batch.filter(accepted(batch.column(name)))
    found.counts.left_out[NOT_ACCEPTED] += batch.num_rows - kept.num_rows
    return kept


def _explained(path: Path, layout: FileLayout, problem: str) -> DatasetError:
    """Arrow's error as the first line that is to blame; only read again to find that."""
    with BoundedFile(path) as file:
        if layout.encoding == "utf-8":
            lines = _lines(file, layout)
        else:
            lines = io.TextIOWrapper(
                io.BufferedReader(file), layout.encoding, errors="replace", newline=""
            )
        rows = csv_rows(lines, layout.separator, layout.quoted)
        for number, row in rows:
            if row and len(row) != len(layout.names):
                fields = f"{len(layout.names)} fields separated by {layout.separator!r}"
                found = f"found {len(row)} in {shorten(layout.separator.join(row))}"
                return DatasetError(path, f"expected {fields}, {found}", number)
    return DatasetError(path, f"cannot be read as text with columns: {problem}")


def _lines(file: BoundedFile, layout: FileLayout) -> Iterator[str]:
    """The lines of a file.

    Raises:
        DatasetError: naming the first line that is not UTF-8.
    """
    for number, line in enumerate(io.BufferedReader(file), start=1):
        try:
            yield line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            bad, shown = line[error.start : error.start + 1].hex(), line.decode("latin-1")
            told = f"expected UTF-8, found the byte 0x{bad} in {shorten(shown)}"
            done = "type --encoding latin-1 if that reads right"
            raise DatasetError(file.path, f"{told}; {done}", number) from None


def csv_rows(lines: Iterable[str], separator: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows of text with columns, each with the number of its last line."""
    if quoted:
        reader = python_csv.reader(lines, delimiter=separator)
        with suppress(python_csv.Error):  # what Python cannot divide stays Arrow's sentence
            yield from ((reader.line_num, row) for row in reader)
        return
    for number, line in enumerate(lines, start=1):
        yield number, line.rstrip("\r\n").split(separator)

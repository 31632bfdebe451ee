"""JSON lines: one object a line with subject, predicate and object, or apoc.export's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from mulde.errors import DatasetError, shorten
from mulde.graph.facts import Collector
from mulde.graph.formats import neo4j
from mulde.graph.formats.tables import places_of
from mulde.graph.reading.compressed import BoundedFile
from mulde.graph.reading.options import ReadOptions

_BLOCK_BYTES = 8 << 20
_SAMPLE_BYTES = 1 << 16


def read_json_lines(path: Path, options: ReadOptions, found: Collector) -> None:
    """Collect the facts of a file.

    Raises:
        DatasetError: naming the line that is no object, or the keys that were found instead.
    """
    first = _first_object(path)
    if first.get("type") in ("node", "relationship") and ("labels" in first or "start" in first):
        _read_neo4j(path, options, found)
        return
    names = list(first)
    places = places_of(path, names, options)
    keys = [names[place] for place in places]
    found.counts.sources.append(f"{path.name}: keys {', '.join(keys[:3])}")
    kinds = [_kind(first[key]) for key in keys]
    schema = pa.schema(list(dict(zip(keys, kinds, strict=True)).items()))
    row = 1
    for batch in _batches(path, schema, options):
        columns = [batch.column(key) for key in keys]
        found.add(path, columns[:3], columns[3] if options.time else None, row)
        row += batch.num_rows


def _kind(value: Any) -> Any:
    return pa.int64() if isinstance(value, int) else pa.string()


def _read_neo4j(path: Path, options: ReadOptions, found: Collector) -> None:
    found.counts.sources.append(f"{path.name}: JSON lines of Neo4j (apoc.export)")
    properties = pa.struct([(name, pa.string()) for name in neo4j.NAMES])
    row = 1
    for batch in _batches(
        path, neo4j.JSON_SCHEMA.append(pa.field("properties", properties)), options
    ):
        neo4j.collect_json(path, batch, row, found)
        row += batch.num_rows


def _batches(path: Path, schema: Any, options: ReadOptions) -> Any:
    with BoundedFile(path, options.progress) as file:
        try:
            for batch in arrow_json.open_json(
                pa.PythonFile(file, "r"),
                arrow_json.ReadOptions(block_size=_BLOCK_BYTES),
                arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            ):
                batch.validate(full=True)  # Arrow does not look whether JSON is UTF-8
                yield batch
        except pa.ArrowInvalid as error:
            raise DatasetError(path, *_explained(path, str(error))) from error


def _first_object(path: Path) -> dict[str, Any]:
    with BoundedFile(path) as file:
        raw = file.read(_SAMPLE_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not raw:
        raise DatasetError(path, "expected at least one triple, found an empty file")
    line = raw.split(b"\n", 1)[0]
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            path, f"expected a JSON object, found {shorten(line)}: {error}", 1
        ) from None
    if not isinstance(found, dict):
        raise DatasetError(path, f"expected one JSON object a line, found {shorten(line)}", 1)
    return found


def _explained(path: Path, problem: str) -> tuple[str, int | None]:
    """The line that is no JSON object, if there is one; else Arrow's sentence."""
    with BoundedFile(path) as file:
        number, rest = 0, b""
        while piece := file.read(1 << 20):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                number += 1
                if line.strip() and not _is_object(line):
                    return f"expected a JSON object, found {shorten(line)}", number
    if rest.strip() and not _is_object(rest):
        return f"expected a JSON object, found {shorten(rest)}", number + 1
    return f"cannot be read as JSON lines: {problem}", None


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False

"""Any source of triples -> facts, labels, types and a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from mulde.errors import ConfigError, DatasetError, shorten
from mulde.graph.facts import Collector, Facts
from mulde.graph.formats import delimited, json_lines, objects, rdf, tables
from mulde.graph.labels import read_labels, read_types
from mulde.graph.reading.arrow import find
from mulde.graph.reading.compressed import BoundedFile, plain_suffix
from mulde.graph.reading.options import ReadOptions
from mulde.graph.report import GraphReport, report_on

READERS: dict[str, Any] = {
    **dict.fromkeys(("tsv", "csv", "txt"), delimited.read_delimited),
    **dict.fromkeys(("jsonl", "ndjson", "json"), json_lines.read_json_lines),
    **dict.fromkeys(("parquet", "pq"), tables.read_parquet),
    **dict.fromkeys(rdf.FORMATS, rdf.read_rdf),
}
FORMATS = tuple(READERS)


class GraphData(NamedTuple):
    """What a source holds.

    Attributes:
        facts: distinct triples in rows.
        labels: by id of entity or relation.
        types: pairs of entity and type.
        report: what was read and what to know about it.
        descriptions: by id of entity.
    """

    facts: Facts
    labels: dict[str, str]
    types: list[tuple[str, str]]
    report: GraphReport
    descriptions: Mapping[str, str] = MappingProxyType({})


def read_graph(
    source: Any,
    options: ReadOptions | None = None,
    *,
    labels: Sequence[Path | str] = (),
    types: Sequence[Path | str] = (),
    **given: Any,
) -> GraphData:
    """Read triples from files or from Python.

    Args:
        source: a path or several; a DataFrame of pandas or polars, an Arrow table, a networkx
            graph, a PyKEEN TriplesFactory, or an iterable of (subject, predicate, object).
        options: how to read it.
        labels: files of ``id<TAB>label[<TAB>description]``, for entities or relations.
        types: files of ``id<TAB>type``.
        given: fields of ``ReadOptions``, such as ``columns=("a", "b", "c")``.

    Raises:
        DatasetError: naming file and line: what was expected, what was found, what to type.
        ConfigError: for an unknown option or format.
    """
    options = _options(options, given)
    found = Collector()
    name = _collect(source, options, found)
    for path in map(Path, labels):
        for key, text in read_labels(path).items():
            found.label(key, text, (-1,))
    for path in map(Path, types):
        found.types += read_types(path)
    facts = found.facts(name)
    _refuse_hidden_header(facts, found.first)
    _refuse_doubtful_header(facts, found.headers)
    return GraphData(facts, found.labels, found.types, report_on(facts, found.counts))


def _options(options: ReadOptions | None, given: dict[str, Any]) -> ReadOptions:
    if options is not None and given:
        raise ConfigError("read_graph", "options or their fields by name", sorted(given))
    try:
        return options or ReadOptions(**given)
    except TypeError as error:
        raise ConfigError("read_graph", "fields of ReadOptions", str(error)) from None


def _collect(source: Any, options: ReadOptions, found: Collector) -> str:
    """Fill a collector; returns the source's name for errors."""
    if isinstance(source, (str, Path)):
        source = [source]
    if isinstance(source, (list, tuple)) and source and all(
        isinstance(one, (str, Path)) for one in source
    ):  # fmt: skip
        for path in map(Path, source):
            name = _format_of(path, options)
            READERS[name](path, replace(options, format=name), found)
        return ", ".join(map(str, source))
    name = type(source).__name__
    if hasattr(source, "mapped_triples"):
        objects.read_factory(source, found)
    elif hasattr(source, "is_directed"):
        objects.read_networkx(source, options, found)
    elif hasattr(source, "__arrow_c_stream__") or hasattr(source, "iloc"):
        tables.read_table(name, source, options, found)
    elif isinstance(source, Iterable):
        found.counts.sources.append(f"triples of a Python {name}")
        objects.read_iterable(name, source, found)
    else:
        raise ConfigError("source", "paths, a table, a graph or triples", name)
    return name


def _format_of(path: Path, options: ReadOptions) -> str:
    """The format that is given, that the file's name tells, or that its first bytes show.

    Raises:
        ConfigError: for a format that is not known.
        DatasetError: if there is no such file.
    """
    if path.is_dir():
        problem = "expected a file of triples, found a folder; a folder with train.txt, valid.txt"
        raise DatasetError(path, f"{problem} and test.txt is split already: train on it as it is")
    if not path.exists():
        raise DatasetError(path, "expected a file of triples, found none")
    if options.format is not None:
        if options.format not in READERS:
            raise ConfigError("--format", f"one of {', '.join(FORMATS)}", options.format)
        return options.format
    name = plain_suffix(path).removeprefix(".")
    return _format_within(path) if name not in READERS or name == "txt" else name


def _format_within(path: Path) -> str:
    """The format that a file's first bytes show, where its name tells none."""
    with BoundedFile(path) as file:
        start = file.read(1 << 12).removeprefix(b"\xef\xbb\xbf").lstrip()
    line = start.partition(b"\n")[0].rstrip()
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"{"):
        return "jsonl"
    if start.startswith((b"@prefix", b"@base", b"PREFIX", b"BASE")):
        return "ttl"
    if start.startswith((b"<?xml", b"<rdf:")):
        return "rdf"
    if line.startswith((b"<", b"_:")) and line.endswith(b"."):
        return "nq"  # N-Triples too
    return "tsv"


def _refuse_hidden_header(facts: Facts, first: Sequence[tuple[str, tuple[str, str, str]]]) -> None:
    """Refuse a first line whose three names occur nowhere else, while relations repeat.

    Raises:
        DatasetError: it may be a header with unusual names; the user knows.
    """
    if len(facts) < 4 or len(facts) < 2 * facts.size[1]:
        return
    for path, names in first:
        ids = (facts.entity_ids, facts.relation_ids, facts.entity_ids)
        rows = [find(i, name) for i, name in zip(ids, names, strict=True)]
        with_relation = facts.triples[:, 1] == rows[1]
        if np.count_nonzero(with_relation) > 1:
            continue
        ends = np.isin(facts.triples[:, [0, 2]], [rows[0], rows[2]]).any(axis=1)
        if np.count_nonzero(ends | with_relation) == 1:
            problem = f"no name of {shorten(names)} occurs again; is it a header?"
            raise DatasetError(path, f"{problem} type --header or --no-header", 1)


def _refuse_doubtful_header(facts: Facts, headers: Sequence[tuple[str, str]]) -> None:
    """Refuse a header whose relation column is named as a relation is.

    Raises:
        DatasetError: it may be a fact; the user knows.
    """
    for path, name in headers:
        if find(facts.relation_ids, name) >= 0:
            problem = f"the first line looks like a header, but {name!r} is a relation too"
            raise DatasetError(path, f"{problem}; type --header or --no-header", 1)

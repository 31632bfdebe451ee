"""The layout of a file of text columns, from its first lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mulde.errors import ConfigError, DatasetError, shorten
from mulde.graph.reading.columns import ACCEPT, find_columns, header_roles
from mulde.graph.reading.compressed import BoundedFile, plain_suffix
from mulde.graph.reading.options import ReadOptions

SAMPLE_BYTES = 1 << 16
_SEPARATORS = ("\t", ",", ";", "|")
_SHOWN_LINES = 3
_NEO4J = {"_id", "_start", "_end", "_type"}


@dataclass(frozen=True)
class FileLayout:
    """How to read a file of text columns.

    Attributes:
        names: one for each column; ``1``, ``2``, ... without a header.
        columns: places of subject, predicate and object.
        time: place of the time, or None.
        header: whether the first line names the columns.
        skipped_lines: blank lines and the header, before the first fact.
        certain: whether the user or well-known names say so.
        accept: place of a curator's column, or None.
    """

    encoding: str
    separator: str
    quoted: bool
    names: tuple[str, ...]
    columns: tuple[int, ...]
    time: int | None
    header: bool
    skipped_lines: int
    certain: bool
    accept: int | None = None

    @property
    def neo4j(self) -> bool:
        """Whether this is an export of Neo4j's apoc, which holds nodes and relationships."""
        return self.header and set(self.names) >= _NEO4J

    def text(self) -> str:
        """``columns subject, predicate, object``."""
        names = ", ".join(self.names[place] for place in self.columns)
        kind = "header found" if self.header else "no header"
        return f"columns {names} ({kind}), separated by {self.separator!r}"


def layout_of(path: Path, options: ReadOptions) -> FileLayout:
    """Look at the first lines of a file.

    Raises:
        DatasetError: if it is empty, binary, or its columns are not known; shows the first lines
            and what to type.
    """
    with BoundedFile(path) as file:
        raw = b""
        while len(raw) < SAMPLE_BYTES and (piece := file.read(SAMPLE_BYTES - len(raw))):
            raw += piece
    encoding = options.encoding or _encoding(path, raw)
    text = _decoded(raw, encoding)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if len(raw) == SAMPLE_BYTES or not lines[-1]:
        lines = lines[:-1] or lines  # the last one may be cut
    blank = next((place for place, line in enumerate(lines) if line.strip()), None)
    if blank is None:
        raise DatasetError(path, "expected at least one triple, found an empty file")
    lines = lines[blank:]
    separator = options.separator or _separator(path, lines)
    quoted = separator != "\t" or _all_quoted(lines[0], separator)
    rows = _split(lines, separator, quoted)
    return _resolve(path, options, encoding, separator, quoted, rows, lines, blank)


def _encoding(path: Path, raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in raw:
        expected = "expected text with columns, or one of the other formats"
        raise DatasetError(path, f"{expected}, found binary content {shorten(raw[:16])}")
    return "utf-8"


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding, errors="replace").removeprefix("\ufeff")
    except LookupError:
        raise ConfigError("--encoding", "the name of an encoding", encoding) from None


def _separator(path: Path, lines: Sequence[str]) -> str:
    """The one that divides all lines into as many fields, at least two."""
    preferred = "," if plain_suffix(path) == ".csv" else "\t"
    for separator in sorted(_SEPARATORS, key=lambda one: one != preferred):
        counts = {len(row) for row in _split(lines[:100], separator, separator != "\t")}
        if len(counts) == 1 and counts != {1}:
            return separator
    return preferred


def _all_quoted(line: str, separator: str) -> bool:
    fields = line.split(separator)
    return all(len(f) > 1 and f.startswith('"') and f.endswith('"') for f in fields)


def _split(lines: Sequence[str], separator: str, quoted: bool) -> list[list[str]]:
    if not quoted:
        return [line.split(separator) for line in lines]
    try:
        return list(csv.reader(io.StringIO("\n".join(lines)), delimiter=separator))
    except csv.Error:  # such as a field of more than 128 KiB
        return [line.split(separator) for line in lines]


def _resolve(
    path: Path,
    options: ReadOptions,
    encoding: str,
    separator: str,
    quoted: bool,
    rows: list[list[str]],
    lines: Sequence[str],
    blank: int,
) -> FileLayout:
    """Which columns to take."""
    first = rows[0]
    width, roles = len(first), header_roles(first)
    header = options.header
    named = [*(options.columns or ()), *([options.time] if options.time else [])]
    if header is None:
        header = roles is not None or set(first) >= _NEO4J or any(
            name in first and not name.isdecimal() for name in named)  # fmt: skip
    names = tuple(first) if header else tuple(str(place + 1) for place in range(width))
    wanted = options.columns or _usual(names if header else (), width, roles if header else None)
    try:
        columns = tuple(find_columns(wanted, names))
        time = find_columns([options.time], names)[0] if options.time else None
    except LookupError as error:
        problem = f"no column is called {error.args[0]!r}; " + _what_to_type(
            names, separator, lines
        )
        raise DatasetError(path, problem) from None
    if len(columns) != (2 if options.relation is not None else 3):
        raise DatasetError(path, _unknown(names, separator, lines, width))
    certain = header or options.header is not None
    skipped = blank + header
    accept = names.index(ACCEPT) if header and ACCEPT in names else None
    return FileLayout(
        encoding, separator, quoted, names, columns, time, header, skipped, certain, accept
    )


def _usual(names: Sequence[str], width: int, roles: tuple[int, int, int] | None) -> tuple[str, ...]:
    """The columns to take where the user names none; empty if not known."""
    if set(names) >= _NEO4J:
        return ("_start", "_type", "_end")
    if roles is not None:
        return tuple(str(place + 1) for place in roles)
    return ("1", "2", "3") if width == 3 else ()


def _unknown(names: Sequence[str], separator: str, lines: Sequence[str], width: int) -> str:
    expected = f"expected columns of subject, predicate and object, found {width}"
    return f"{expected}; {_what_to_type(names, separator, lines)}"


def _what_to_type(names: Sequence[str], separator: str, lines: Sequence[str]) -> str:
    shown = "".join(f"\n    {shorten(line, 120)}" for line in lines[:_SHOWN_LINES])
    first = names if names[0] != "1" else _split(lines[:1], separator, separator != "\t")[0]
    listed = ", ".join(f"{place} {shorten(name)}" for place, name in enumerate(first[:20], start=1))
    guessed = f"columns {listed}, separated by {separator!r}"
    if len(names) == 1 and len(lines[0].split()) == 3:
        return f"the first lines are{shown}\n  read as {guessed}; type --separator ' '"
    option = "type --columns SUBJECT,PREDICATE,OBJECT with their names or numbers"
    pairs = " (or --columns SUBJECT,OBJECT --relation NAME for pairs)" if len(names) == 2 else ""
    return f"the first lines are{shown}\n  read as {guessed}; {option}{pairs}"

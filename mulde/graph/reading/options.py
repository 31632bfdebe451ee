"""What a caller may say about a source, where guessing is not enough."""

from __future__ import annotations

from dataclasses import dataclass

from mulde.graph.reading.compressed import Progress, no_progress


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source.

    Attributes:
        columns: names or numbers (from 1) of the columns of subject, predicate and object.
        time: name or number of the column with the time of each fact.
        separator: of text columns; found out if None.
        header: whether the first line names the columns; found out if None.
        encoding: of text with columns; UTF-8 and, with a byte order mark, UTF-16 need none.
        format: one of ``mulde.graph.reading.read.FORMATS``; by default what the file's name says.
        languages: of labels in RDF, the preferred one first.
        literals: keep RDF facts whose object is a literal, as an entity of its own.
        blank_nodes: keep RDF facts with blank nodes.
        relation: the predicate of all facts, for an edge list without one.
        progress: told how far each file is read.
    """

    columns: tuple[str, ...] | None = None
    time: str | None = None
    separator: str | None = None
    header: bool | None = None
    encoding: str | None = None
    format: str | None = None
    languages: tuple[str, ...] = ("en",)
    literals: bool = False
    blank_nodes: bool = False
    relation: str | None = None
    progress: Progress = no_progress

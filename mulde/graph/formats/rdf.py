"""RDF: N-Triples, N-Quads, Turtle, TriG, RDF/XML and JSON-LD, as pyoxigraph parses them.

What becomes of a statement:

* its predicate is rdfs:label, skos:prefLabel or schema:name: the label of its subject;
* its predicate is rdf:type: a type of its subject;
* its object is a literal: left out, unless literals are asked for; then the literal as N-Triples
  writes it is an entity;
* it has a blank node: left out, unless blank nodes are asked for; then they are entities that are
  named by their file and order, as their own names mean nothing elsewhere;
* it has a triple as a term (RDF 1.2): left out;
* else it is a fact, whatever its named graph. Entities and relations are named by their IRIs.

All that is left out is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from mulde.errors import DatasetError
from mulde.graph.facts import Collector
from mulde.graph.reading.arrow import arrow_names
from mulde.graph.reading.compressed import BoundedFile
from mulde.graph.reading.options import ReadOptions

FORMATS = ("nt", "nq", "ttl", "n3", "trig", "rdf", "xml", "owl", "jsonld")
_SAME = {"xml": "rdf", "owl": "rdf"}
LABELS = {
    "http://www.w3.org/2000/01/rdf-schema#label": 0,
    "http://www.w3.org/2004/02/skos/core#prefLabel": 1,
    "http://schema.org/name": 2,
    "https://schema.org/name": 2,
}
TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
_BATCH = 100_000
_HEAD_BYTES = 1 << 16
_MOST_ENTITY_BYTES = 256
_ENTITY = b"<!ENTITY"
_PLAIN_ENTITY = re.compile(
    rb"""<!ENTITY\s+[\w.:-]+\s+(?:"[^"&%%<]{0,%(most)d}"|'[^'&%%<]{0,%(most)d}')\s*>"""
    % {b"most": _MOST_ENTITY_BYTES}
)


def read_rdf(path: Path, options: ReadOptions, found: Collector) -> None:
    """Collect facts, labels and types of a file.

    Raises:
        DatasetError: naming line and column of a syntax error.
    """
    statements = _parse(path, options)
    reader = _Reader(options, found, number=len(found.counts.sources))
    found.counts.sources.append(f"{path.name}: {options.format}")
    while batch := list(islice(statements, _BATCH)):
        columns = reader.facts_of(batch)
        found.add(path, [arrow_names(column) for column in columns])


def _parse(path: Path, options: ReadOptions) -> Iterator[Any]:
    import pyoxigraph

    assert options.format is not None

    kind = pyoxigraph.RdfFormat.from_extension(_SAME.get(options.format, options.format))
    with BoundedFile(path, options.progress) as plain:
        file = EntityGuard(plain, path) if kind == pyoxigraph.RdfFormat.RDF_XML else plain
        try:
            yield from pyoxigraph.parse(cast(IO[bytes], file), kind)
        except SyntaxError as error:
            where = f"column {error.offset}: " if error.offset else ""
            raise DatasetError(path, f"{where}{error.msg}", error.lineno) from error
        except (OSError, ValueError) as error:
            raise DatasetError(path, f"cannot be read: {error}") from error


class EntityGuard:
    """A file of RDF/XML that refuses entities which a parser could blow up.

    The parser expands entities without a limit, so ten short ones that name each other stand for
    gigabytes. Those that shorten IRIs stand at the start, are short and name no other.
    """

    def __init__(self, file: BoundedFile, path: Path) -> None:
        self._file, self._path, self._tail = file, path, b""
        self._head = b""
        while len(self._head) < _HEAD_BYTES and (piece := file.read(_HEAD_BYTES)):
            self._head += piece
        if self._head.count(_ENTITY) != len(_PLAIN_ENTITY.findall(self._head)):
            raise self._refusal()

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes."""
        if self._head:
            end = len(self._head) if size < 0 else size
            piece, self._head = self._head[:end], self._head[end:]
            self._tail = piece[-len(_ENTITY) :]
            return piece
        piece = self._file.read(size)
        if _ENTITY in self._tail[1:] + piece:
            raise self._refusal()
        self._tail = (self._tail + piece)[-len(_ENTITY) :]
        return piece

    def _refusal(self) -> DatasetError:
        expected = f'expected <!ENTITY NAME "..."> of at most {_MOST_ENTITY_BYTES} bytes'
        where = f"that names no other, in the first {_HEAD_BYTES:,} bytes"
        return DatasetError(self._path, f"{expected} {where}, found another one")


class _Reader:
    """Sorts statements into facts, labels and types."""

    def __init__(self, options: ReadOptions, found: Collector, number: int) -> None:
        from pyoxigraph import BlankNode, Literal, NamedNode

        self._node, self._blank, self._literal = NamedNode, BlankNode, Literal
        self._options, self._found, self._number = options, found, number
        self._names: dict[str, str] = {}

    def facts_of(self, statements: Sequence[Any]) -> tuple[list[str], list[str], list[str]]:
        """Heads, relations and tails of the statements that are facts."""
        heads: list[str] = []
        relations: list[str] = []
        tails: list[str] = []
        left_out = self._found.counts.left_out
        for statement in statements:
            subject, predicate, value = (
                statement.subject, statement.predicate.value, statement.object,
            )  # fmt: skip
            if predicate in LABELS and type(value) is self._literal:
                self._label(subject.value, predicate, value)
                continue
            if predicate == TYPE and type(subject) is type(value) is self._node:
                self._found.types.append((subject.value, value.value))
                left_out["rdf:type statements, taken as types"] += 1
                continue
            head, tail = self._entity(subject), self._entity(value)
            if head and tail:
                heads.append(head)
                relations.append(predicate)
                tails.append(tail)
        return heads, relations, tails

    def _entity(self, term: Any) -> str | None:
        """The entity that a term stands for; None, and counted, if it is left out."""
        kind = type(term)
        if kind is self._node:
            return str(term.value)
        left_out = self._found.counts.left_out
        if kind is self._literal:
            if self._options.literals:
                return str(term)
            left_out["statements with a literal (--literals keeps them)"] += 1
        elif kind is self._blank:
            if self._options.blank_nodes:
                new = f"_:f{self._number}b{len(self._names)}"
                return self._names.setdefault(term.value, new)
            left_out["statements with a blank node (--blank-nodes keeps them)"] += 1
        else:
            left_out["statements about statements"] += 1
        return None

    def _label(self, key: str, predicate: str, value: Any) -> None:
        """The preferred language counts first, then the predicate."""
        language = (value.language or "").lower()
        wanted = [one.lower() for one in self._options.languages]
        places = [
            place for place, one in enumerate(wanted)
            if language == one or language.startswith(one + "-")
        ]  # fmt: skip
        rank = places[0] if places else len(wanted) + bool(language)
        self._found.label(key, value.value, (rank, LABELS[predicate]))
        self._found.counts.left_out["label statements, taken as labels"] += 1

"""Triples on disk -> a Graph: dense sorted rows and three splits.

A graph is a folder with ``train.txt``, ``valid.txt`` and ``test.txt`` (or the same names with
``.gz``), each line ``head<TAB>relation<TAB>tail`` in UTF-8 with LF or CRLF, and optionally
``labels.tsv`` and ``relation_labels.tsv`` (``id<TAB>label[<TAB>description]``; ids that the graph
does not have are passed over, an id without a label is its own).

Rules, each counted in :class:`Graph` and shown by ``mulde data check``:

* a triple that is repeated within a split is kept once (``duplicates``);
* a triple of valid or test that train holds too stays where it is (``leaked``);
* an entity that occurs only in valid or test gets a row like any other (``unseen``);
* a relation that occurs only in valid or test is an error: no model can answer it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mulde.errors import DatasetError, shorten
from mulde.graph.safe_gzip import unpack
from mulde.storage.strings import MAX_BYTES

if TYPE_CHECKING:
    from mulde.bundle.vocabulary import Vocabulary

SPLITS = ("train", "valid", "test")
Triples = NDArray[np.int32]


@dataclass(frozen=True)
class Graph:
    """A knowledge graph in rows; E entities and R relations, both sorted by id.

    Attributes:
        train, valid, test: int32 [n, 3], columns head, relation, tail.
        digest: SHA-256 over the three splits as LF text, whatever their compression.
        duplicates: per split, how many repeated triples were kept once.
        leaked: per split, how many triples train holds too.
        unseen: per split, how many triples have an entity that train does not hold.
    """

    name: str
    entity_ids: tuple[str, ...]
    relation_ids: tuple[str, ...]
    entity_labels: tuple[str, ...]
    relation_labels: tuple[str, ...]
    train: Triples
    valid: Triples
    test: Triples
    digest: str
    duplicates: dict[str, int] = field(default_factory=dict)
    leaked: dict[str, int] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)

    @property
    def num_entities(self) -> int:
        """E."""
        return len(self.entity_ids)

    @property
    def num_relations(self) -> int:
        """R, without the reciprocal relations."""
        return len(self.relation_ids)

    def split(self, name: str) -> Triples:
        """The triples of ``train``, ``valid`` or ``test``."""
        if name not in SPLITS:
            raise DatasetError(self.name, f"expected a split of {SPLITS}, found {name!r}")
        triples: Triples = getattr(self, name)
        return triples

    @cached_property
    def all_triples(self) -> Triples:
        """All facts, each once: what a filtered rank leaves out."""
        stacked = np.concatenate([self.train, self.valid, self.test])
        return np.unique(stacked, axis=0)

    def vocabulary(self) -> Vocabulary:
        """The names, ready for a bundle."""
        from mulde.bundle.vocabulary import Vocabulary

        return Vocabulary.build(
            self.entity_ids, self.entity_labels, self.relation_ids, self.relation_labels
        )


def read_folder(directory: Path | str) -> Graph:
    """Read a graph folder.

    Raises:
        DatasetError: naming the file and, where there is one, the line: a split that is missing or
            empty, a malformed line, a relation that train does not hold, damaged labels.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise DatasetError(folder, "expected a folder with train.txt, valid.txt and test.txt")
    paths = {name: _find(folder, f"{name}.txt") for name in SPLITS}
    texts = {name: read_text(path) for name, path in paths.items()}
    columns = {name: split_fields(paths[name], texts[name]) for name in SPLITS}
    _refuse_unseen_relations(paths, columns)
    entity_ids = sorted(set().union(*(set(c[0]) | set(c[2]) for c in columns.values())))
    relation_ids = sorted(set(columns["train"][1]))
    rows = {name: _to_rows(columns[name], entity_ids, relation_ids) for name in SPLITS}
    unique = {name: _first_occurrences(triples) for name, triples in rows.items()}
    seen = np.zeros(len(entity_ids), dtype=bool)
    seen[unique["train"][:, [0, 2]]] = True
    digest = hashlib.sha256("\0".join(texts[name] for name in SPLITS).encode())
    return Graph(
        name=folder.resolve().name,
        entity_ids=tuple(entity_ids),
        relation_ids=tuple(relation_ids),
        entity_labels=_labels(folder / "labels.tsv", entity_ids),
        relation_labels=_labels(folder / "relation_labels.tsv", relation_ids),
        **unique,
        digest=digest.hexdigest(),
        duplicates={name: len(rows[name]) - len(unique[name]) for name in SPLITS},
        leaked={n: _count_shared(unique[n], unique["train"]) for n in ("valid", "test")},
        unseen={n: int((~seen[unique[n][:, [0, 2]]]).any(axis=1).sum()) for n in ("valid", "test")},
    )


def read_text(path: Path) -> str:
    """A UTF-8 text file, ``.gz`` or plain, with LF after each line and no BOM.

    Raises:
        DatasetError: if it cannot be read, is not gzip or far larger than that, is not UTF-8 or
            holds NUL or a carriage return that ends no line (with the line).
    """
    raw = unpack(path) if path.suffix == ".gz" else _bytes_of(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1  # without the BOM that raw may have
        raise DatasetError(path, "expected UTF-8, found other bytes", line) from error
    text = text.replace("\r\n", "\n")
    for character in "\0\r":
        place = text.find(character)
        if place >= 0:
            problem = f"expected lines of text that end in LF or CRLF, found {character!r}"
            raise DatasetError(path, problem, text.count("\n", 0, place) + 1)
    return text if text.endswith("\n") or not text else text + "\n"


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(path, f"cannot be read: {error}") from error


def split_fields(path: Path, text: str, width: int = 3) -> list[list[str]]:
    """Columns of a tab-separated text whose lines all have ``width`` non-empty fields.

    Raises:
        DatasetError: with the first line that has another number of fields, an empty one or one
            that is longer than a vocabulary can keep.
    """
    text = text.removesuffix("\n")
    if not text:
        raise DatasetError(path, "expected at least one triple, found an empty file")
    lines = text.count("\n") + 1
    fields = text.replace("\n", "\t").split("\t")
    regular = len(fields) == width * lines and text.count("\t") == (width - 1) * lines
    if not regular or "" in fields or not _evenly_spaced(text, width):
        _raise_first_malformed(path, text, width)
    _refuse_long_names(path, fields, width)
    return [fields[i::width] for i in range(width)]


def _evenly_spaced(text: str, width: int) -> bool:
    """Whether every ``width``-th separator, and no other, is a line end."""
    raw = np.frombuffer(text.encode(), dtype=np.uint8)
    separators = raw[(raw == ord("\t")) | (raw == ord("\n"))]
    ends = separators[width - 1 :: width]
    return bool((ends == ord("\n")).all()) and int((separators == ord("\n")).sum()) == len(ends)


def _raise_first_malformed(path: Path, text: str, width: int) -> None:
    """Find the line to blame; only ever called on a file that is known to be malformed."""
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split("\t")
        if len(fields) != width:
            found = f"found {len(fields)} in {shorten(line)}"
            raise DatasetError(path, f"expected {width} tab-separated fields, {found}", number)
        if "" in fields:
            empty = fields.index("") + 1
            raise DatasetError(path, f"field {empty} of {shorten(line)} is empty", number)
    raise AssertionError("called on a well-formed file")


def _refuse_long_names(path: Path, names: list[str], per_line: int) -> None:
    """Refuse here what would only fail when the trained model is exported."""
    if max(map(len, names)) <= MAX_BYTES // 4:  # UTF-8 needs at most 4 bytes a character
        return
    for place, name in enumerate(names):
        size = len(name.encode())
        if size > MAX_BYTES:
            problem = f"expected names of at most {MAX_BYTES} bytes, found {size}: {shorten(name)}"
            raise DatasetError(path, problem, place // per_line + 1)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DatasetError(folder / name, "expected this file (or the same with .gz), found none")


def _refuse_unseen_relations(paths: dict[str, Path], columns: dict[str, list[list[str]]]) -> None:
    known = set(columns["train"][1])
    for name in ("valid", "test"):
        extra = set(columns[name][1]) - known
        if extra:
            line = min(columns[name][1].index(relation) for relation in extra) + 1
            relation = columns[name][1][line - 1]
            problem = f"relation {shorten(relation)} does not occur in train"
            raise DatasetError(paths[name], problem, line)


def _to_rows(columns: list[list[str]], entities: list[str], relations: list[str]) -> Triples:
    entity = dict(zip(entities, range(len(entities)), strict=True))
    relation = dict(zip(relations, range(len(relations)), strict=True))
    maps = (entity, relation, entity)
    rows = [list(map(m.__getitem__, c)) for m, c in zip(maps, columns, strict=True)]
    return np.array(rows, dtype=np.int32).T.copy()


def _first_occurrences(triples: Triples) -> Triples:
    _, first = np.unique(triples, axis=0, return_index=True)
    return triples[np.sort(first)]


def _count_shared(triples: Triples, others: Triples) -> int:
    both = np.concatenate([triples, others])
    return len(both) - len(np.unique(both, axis=0))


def _labels(path: Path, ids: list[str]) -> tuple[str, ...]:
    """Labels by id from an optional file; an id without one is its own label."""
    if not path.is_file():
        return tuple(ids)
    lines = read_text(path).removesuffix("\n").split("\n")
    pairs = [line.split("\t", 2)[:2] for line in lines]
    lengths = list(map(len, pairs))
    if min(lengths) < 2:
        raise DatasetError(path, "expected id<TAB>label", lengths.index(1) + 1)
    _refuse_long_names(path, [label for _, label in pairs], per_line=1)
    table = {key: label for key, label in pairs if label}
    for number, (key, label) in enumerate(pairs, start=1):
        if label and table[key] != label:
            problem = f"{shorten(key)} has another label too, {shorten(table[key])}"
            raise DatasetError(path, problem, number)
    return tuple(table.get(key, key) for key in ids)

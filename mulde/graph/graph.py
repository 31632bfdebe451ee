"""Triples on disk -> a Graph: dense sorted rows and three splits.

A graph is a folder with ``train.txt``, ``valid.txt`` and ``test.txt`` (or the same names with
``.gz``, ``.zst`` or ``.bz2``), each line ``head<TAB>relation<TAB>tail`` in UTF-8 with LF or CRLF,
and optionally ``labels.tsv`` and ``relation_labels.tsv`` (``id<TAB>label[<TAB>description]``; ids
that the graph does not have are passed over, an id without a label is its own).

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
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mulde.errors import DatasetError, shorten
from mulde.graph.labels import labels_of
from mulde.graph.reading.columns import header_roles
from mulde.graph.reading.compressed import SUFFIXES, Progress, no_progress
from mulde.graph.reading.lines import chunks
from mulde.typing import Triples

if TYPE_CHECKING:
    from mulde.bundle.entities.vocabulary import Vocabulary

SPLITS = ("train", "valid", "test")


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
        size = self.num_entities, self.num_relations
        stacked = np.concatenate([self.train, self.valid, self.test])
        return triples_of(np.unique(keys_of(stacked, *size)), *size)

    def vocabulary(self) -> Vocabulary:
        """The names, ready for a bundle."""
        from mulde.bundle.entities.vocabulary import Vocabulary

        return Vocabulary.build(
            self.entity_ids, self.entity_labels, self.relation_ids, self.relation_labels
        )


def read_folder(directory: Path | str, progress: Progress = no_progress) -> Graph:
    """Read a graph folder.

    Raises:
        DatasetError: naming the file and, where there is one, the line: a split that is missing or
            empty, a malformed line, a header, a relation that train does not hold, damaged labels.
    """
    from mulde.graph.reading.intern import TripleColumns

    folder = Path(directory)
    if not folder.is_dir():
        raise DatasetError(folder, "expected a folder with train.txt, valid.txt and test.txt")
    paths = [_find(folder, f"{name}.txt") for name in SPLITS]
    digest, columns, ends = hashlib.sha256(), TripleColumns(), [0]
    for number, path in enumerate(paths):
        digest.update(b"\0" if number else b"")
        for chunk in chunks(path, digest, progress):
            columns.append(*chunk)
        ends.append(sum(columns.chunk_rows))
    rows, entity_ids, relation_ids, _ = columns.rows()
    parts = [rows[start:end] for start, end in pairwise(ends)]
    names = tuple(relation_ids.to_pylist())
    _refuse_unseen_relations(paths, parts, names)
    ids = tuple(entity_ids.to_pylist())
    _refuse_header(paths[0], parts[0], ids, names)
    unique = {
        name: first_occurrences(part, len(ids), len(names))
        for name, part in zip(SPLITS, parts, strict=True)
    }
    return assemble(
        name=folder.resolve().name,
        entity_ids=ids,
        relation_ids=names,
        entity_labels=labels_of(folder / "labels.tsv", ids),
        relation_labels=labels_of(folder / "relation_labels.tsv", names),
        splits=unique,
        digest=digest.hexdigest(),
        duplicates={n: len(p) - len(unique[n]) for n, p in zip(SPLITS, parts, strict=True)},
    )


def assemble(*, splits: dict[str, Triples], **fields: Any) -> Graph:
    """A graph of three splits without repeated triples; counts what is leaked and unseen."""
    train, size = splits["train"], (len(fields["entity_ids"]), len(fields["relation_ids"]))
    seen = np.zeros(size[0], dtype=bool)
    seen[train[:, 0]] = seen[train[:, 2]] = True
    known = _sorted(keys_of(train, *size))
    return Graph(
        **fields,
        train=train,
        valid=splits["valid"],
        test=splits["test"],
        leaked={n: _count_in(known, keys_of(splits[n], *size)) for n in ("valid", "test")},
        unseen={n: int((~seen[splits[n][:, [0, 2]]]).any(axis=1).sum()) for n in ("valid", "test")},
    )


def keys_of(triples: Triples, entities: int, relations: int) -> NDArray[np.int64]:
    """One number for each triple, ordered as head, relation, tail.

    Raises:
        DatasetError: if the numbers would need more than 62 bits.
    """
    if entities * entities * relations >= 2**62:
        size = f"{entities:,} entities and {relations:,} relations"
        raise DatasetError("graph", f"expected entities^2 * relations below 2^62, found {size}")
    keys = triples[:, 0].astype(np.int64)
    keys *= relations
    keys += triples[:, 1]
    keys *= entities
    keys += triples[:, 2]
    return keys


def triples_of(keys: NDArray[np.int64], entities: int, relations: int) -> Triples:
    """The inverse of ``keys_of``."""
    found = np.empty((len(keys), 3), dtype=np.int32)
    rest, found[:, 2] = np.divmod(keys, entities)
    found[:, 0], found[:, 1] = np.divmod(rest, relations)
    return found


def first_occurrences(triples: Triples, entities: int, relations: int) -> Triples:
    """The triples without repetitions, in their order."""
    keys = keys_of(triples, entities, relations)
    ordered = _sorted(keys)
    if not (ordered[1:] == ordered[:-1]).any():
        return triples
    del ordered
    _, first = np.unique(keys, return_index=True)
    return triples[np.sort(first)]


def _sorted(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys in order; those of a folder that ``mulde data split`` wrote are already."""
    return keys if (keys[1:] > keys[:-1]).all() else np.sort(keys)


def _count_in(ordered: NDArray[np.int64], keys: NDArray[np.int64]) -> int:
    """How many keys are among the ordered ones."""
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return int((ordered[places] == keys).sum())


def _find(folder: Path, name: str) -> Path:
    for suffix in ("", *SUFFIXES):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    raise DatasetError(folder / name, "expected this file (or the same with .gz), found none")


def _refuse_unseen_relations(
    paths: list[Path], parts: list[Triples], relation_ids: tuple[str, ...]
) -> None:
    known = np.zeros(len(relation_ids), dtype=bool)
    known[parts[0][:, 1]] = True
    for path, part in zip(paths[1:], parts[1:], strict=True):
        strange = ~known[part[:, 1]]
        if strange.any():
            row = int(np.argmax(strange))
            problem = f"relation {shorten(relation_ids[part[row, 1]])} does not occur in train"
            raise DatasetError(path, problem, row + 1)


def _refuse_header(
    path: Path, train: Triples, entity_ids: tuple[str, ...], relation_ids: tuple[str, ...]
) -> None:
    """Refuse a first line that names the columns, unless its relation occurs again."""
    head, relation, tail = train[0].tolist()
    names = entity_ids[head], relation_ids[relation], entity_ids[tail]
    if header_roles(names) and not (train[1:, 1] == relation).any():
        problem = f"expected a triple, found a header, {shorten(names)}; remove this line"
        raise DatasetError(path, problem, 1)

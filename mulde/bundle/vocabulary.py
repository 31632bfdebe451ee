"""Ids, labels and rows of entities and relations, in one mapped file.

Rows are dense and follow the order of the ids, so equal graphs get equal rows (``names``).

``vocabulary.bin`` holds for entities and for relations: ids, labels (left out where every label is
its id) and the rows sorted by label. Since version 2 of the file a column may be front-coded
(``mulde.storage.front_coding``), where that is smaller; version 1 is still read.

Shape letters: E entities, B names of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.names import Names, Rows
from mulde.storage.container import read_sections, write_sections

__all__ = ["Names", "Vocabulary"]

MAGIC = b"MULDEVOC"
VERSION = 2


@dataclass(frozen=True)
class Vocabulary:
    """The names of a graph's entities and relations."""

    entities: Names
    relations: Names

    @classmethod
    def build(
        cls,
        entity_ids: Sequence[str],
        entity_labels: Sequence[str],
        relation_ids: Sequence[str],
        relation_labels: Sequence[str],
    ) -> Vocabulary:
        """Pack names; the ids must be sorted and distinct, labels stand in the order of the ids.

        Raises:
            ValueError: otherwise, or if a name cannot be stored.
        """
        return cls(
            Names.build("entity", entity_ids, entity_labels),
            Names.build("relation", relation_ids, relation_labels),
        )

    def write(self, path: Path) -> None:
        """Write ``vocabulary.bin``, a new file."""
        arrays = self.entities.arrays() | self.relations.arrays()
        write_sections(path, MAGIC, VERSION, arrays)

    @classmethod
    def read(cls, path: Path, *, check: bool = True) -> Vocabulary:
        """Map a ``vocabulary.bin``.

        Args:
            path: the file.
            check: read it all and refuse unsound content; False only for a file that another
                process has just checked.

        Raises:
            BundleError: if it is missing, damaged or foreign.
        """
        columns = Names.columns("entity") | Names.columns("relation")
        further = Names.further_columns("entity") | Names.further_columns("relation")
        arrays = read_sections(path, MAGIC, VERSION, columns, further)
        vocabulary = cls(Names.of(path, "entity", arrays), Names.of(path, "relation", arrays))
        if check:
            vocabulary.entities.check(path)
            vocabulary.relations.check(path)
        return vocabulary

    @property
    def num_entities(self) -> int:
        """E."""
        return len(self.entities)

    @property
    def num_relations(self) -> int:
        """R, without the reciprocal relations."""
        return len(self.relations)

    def entity_row(self, name: str) -> int:
        """See ``Names.row``."""
        return self.entities.row(name)

    def entity_rows(self, names: Sequence[str]) -> Rows:
        """See ``Names.rows``."""
        return self.entities.rows(names)

    def rows_of_label(self, label: str) -> Rows:
        """All entities with exactly this label, ascending."""
        return self.entities.rows_of_label(label)

    def relation_row(self, name: str) -> int:
        """See ``Names.row``."""
        return self.relations.row(name)

    def relation_rows(self, names: Sequence[str]) -> Rows:
        """See ``Names.rows``."""
        return self.relations.rows(names)

    def entity_id(self, row: int) -> str:
        """The id of an entity."""
        return self.entities.ids[row]

    def entity_label(self, row: int) -> str:
        """The label of an entity; its id where it has none."""
        return self.entities.labels[row]

    def entity_ids(self, rows: NDArray[np.integer]) -> list[str]:
        """The ids of entities [B]."""
        return self.entities.ids.take(rows)

    def entity_labels(self, rows: NDArray[np.integer]) -> list[str]:
        """The labels of entities [B]."""
        return self.entities.labels.take(rows)

    def relation_id(self, row: int) -> str:
        """The id of a relation."""
        return self.relations.ids[row]

    def relation_label(self, row: int) -> str:
        """The label of a relation; its id where it has none."""
        return self.relations.labels[row]

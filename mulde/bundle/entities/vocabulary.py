"""Ids, labels and rows of entities and relations, in one mapped file: ``vocabulary.bin``.

An id is the external name and unique. A label is for people and may be shared; what has no label
has its id for one. Rows are dense and follow the order of the ids, so equal graphs get equal rows.

The file holds for entities and for relations: ids, labels (left out where every label is its id)
and the rows sorted by label. Since version 2 of the file a column may be front-coded
(``mulde.storage.strings``), where that is smaller.

Shape letters: E entities, B names of a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from mulde.errors import AmbiguousLabel, BundleError, UnknownEntity, UnknownName, UnknownRelation
from mulde.storage.container import read_sections, write_sections
from mulde.storage.front_coding import narrow, shortest
from mulde.storage.sorted_lookup import SortedStrings
from mulde.storage.string_sections import (
    FRONT_CODED,
    PLAIN,
    check_column,
    column_arrays,
    is_permutation,
    read_column,
    sections,
)
from mulde.storage.strings import StringColumn
from mulde.typing import Array, Ints, Rows

MAGIC = b"MULDEVOC"
VERSION = 2

Kind = Literal["entity", "relation"]

_MAX_CHOICES = 10
_UNKNOWN: dict[Kind, type[UnknownName]] = {"entity": UnknownEntity, "relation": UnknownRelation}


@dataclass(frozen=True)
class NameTable:
    """The ids and labels of entities, or of relations.

    Attributes:
        kind: "entity" or "relation", for error messages.
        ids: sorted, distinct.
        labels: one for each id; the same column as ``ids`` where every label is its id.
        order: rows sorted by label, then by row; None where the labels are the ids.
    """

    kind: Kind
    ids: StringColumn
    labels: StringColumn
    order: Ints | None = None

    @classmethod
    def build(cls, kind: Kind, ids: Sequence[str], labels: Sequence[str]) -> NameTable:
        """Pack ids, which must be sorted and distinct, and their labels.

        Raises:
            ValueError: for no ids, unsorted or repeated ids, a missing label, or a name that cannot
                be stored (see ``StringColumn.build``).
        """
        if not ids:
            raise ValueError(f"expected at least one {kind}, found none")
        if len(ids) != len(labels):
            raise ValueError(f"expected {len(ids)} {kind} labels, found {len(labels)}")
        for before, after in pairwise(ids):
            if before >= after:
                raise ValueError(f"{kind} ids must be sorted and distinct: {before!r}, {after!r}")
        packed = StringColumn.build(ids)
        if list(ids) == list(labels):
            return cls(kind, packed, packed)
        order = sorted(range(len(labels)), key=labels.__getitem__)
        return cls(kind, packed, StringColumn.build(labels), np.array(order, dtype=np.uint32))

    def without_labels(self) -> NameTable:
        """The ids alone."""
        return NameTable(self.kind, self.ids, self.ids)

    def __len__(self) -> int:
        """Number of entities, or of relations."""
        return len(self.ids)

    def row(self, name: str) -> int:
        """The row of a name: of the exact id, else of the one entity that has the label.

        Raises:
            AmbiguousLabel: with the ids that share the label.
            UnknownEntity, UnknownRelation: otherwise; the caller may know nearest spellings.
        """
        row = int(self.rows_of_ids([name])[0])
        if row >= 0:
            return row
        rows = self.rows_of_label(name)
        if len(rows) == 0:
            raise _UNKNOWN[self.kind](name)
        if len(rows) > 1:
            raise AmbiguousLabel(name, self.ids.take(rows[:_MAX_CHOICES]))
        return int(rows[0])

    def rows(self, names: Sequence[str]) -> Rows:
        """Rows [B] of names [B]; raises as ``row`` for the first unknown or ambiguous one."""
        rows = self.lookup(names)
        for place in np.flatnonzero(rows < 0).tolist():
            rows[place] = self.row(names[place])
        return rows

    def lookup(self, names: Sequence[str]) -> Rows:
        """Rows [B] of names [B]; -1 for each that is unknown or ambiguous."""
        rows = self.rows_of_ids(names)
        missing = np.flatnonzero(rows < 0)
        if missing.size and self.order is not None:
            labels = [names[place] for place in missing.tolist()]
            places = self._by_label.find(labels)
            shared = self._by_label.equal(places + 1, labels)
            rows[missing] = np.where(
                (places >= 0) & ~shared, self._by_label.rows(places), np.int64(-1)
            )
        return rows

    def rows_of_ids(self, names: Sequence[str]) -> Rows:
        """Rows [B] of exact ids [B]; -1 where there is none."""
        return self._by_id.find(names)

    def rows_of_label(self, label: str) -> Rows:
        """All rows that have exactly this label, ascending."""
        start = int(self._by_label.find([label])[0])
        if start < 0:
            return np.zeros(0, dtype=np.int64)
        wanted, end = label.encode(), start + 1
        while end < len(self) and self._by_label[end] == wanted:
            end += 1
        return np.sort(self._by_label.rows(np.arange(start, end)))

    @cached_property
    def _by_id(self) -> SortedStrings:
        return SortedStrings(self.ids)

    @cached_property
    def _by_label(self) -> SortedStrings:
        return SortedStrings(self.labels, self.order)

    def arrays(self) -> dict[str, Array]:
        """The columns to write; no labels where every label is its id."""
        labels, order = StringColumn.build([]), np.zeros(0, np.uint16)
        if self.order is not None:
            labels = shortest(self.labels, self.order)
            order = self.order.astype(narrow(len(self)))
        return {
            **column_arrays(shortest(self.ids), f"{self.kind}.id"),
            **column_arrays(labels, f"{self.kind}.label"),
            f"{self.kind}.label.order": order,
        }

    @classmethod
    def of(cls, path: Path, kind: Kind, arrays: Mapping[str, Array]) -> NameTable:
        """The table over mapped arrays; ``check`` reads their content.

        Raises:
            BundleError: if their sizes do not fit.
        """
        ids, labels = (read_column(path, f"{kind}.{part}", arrays) for part in ("id", "label"))
        order = arrays[f"{kind}.label.order"]
        if len(ids) == 0:
            raise BundleError(path, f"expected at least one {kind} id")
        if len(labels) == len(order) == 0:
            return cls(kind, ids, ids)
        if len(labels) != len(ids) or len(order) != len(ids):
            raise BundleError(path, f"expected a label for each of {len(ids)} {kind} ids")
        return cls(kind, ids, labels, order)

    def check(self, path: Path) -> None:
        """Read everything once and refuse what ``build`` would not have made.

        Raises:
            BundleError: naming the file and the column.
        """
        check_column(path, f"{self.kind} ids", self.ids)
        if not self.ids.rising(np.arange(len(self)), strict=True):
            raise BundleError(path, f"{self.kind} ids must be sorted and distinct")
        if self.order is None:
            return
        check_column(path, f"{self.kind} labels", self.labels)
        if not is_permutation(self.order) or not self.labels.rising(self.order, strict=False):
            raise BundleError(path, f"the order of {self.kind} labels is damaged")


@dataclass(frozen=True)
class Vocabulary:
    """The names of a graph's entities and relations."""

    entities: NameTable
    relations: NameTable

    @classmethod
    def build(
        cls,
        entity_ids: Sequence[str],
        entity_labels: Sequence[str],
        relation_ids: Sequence[str],
        relation_labels: Sequence[str],
    ) -> Vocabulary:
        """Pack names; the ids must be sorted and distinct, labels are in the order of the ids.

        Raises:
            ValueError: otherwise, or if a name cannot be stored.
        """
        return cls(
            NameTable.build("entity", entity_ids, entity_labels),
            NameTable.build("relation", relation_ids, relation_labels),
        )

    def write(self, path: Path) -> None:
        """Write ``vocabulary.bin``, a new file."""
        write_sections(path, MAGIC, VERSION, self.entities.arrays() | self.relations.arrays())

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
        expected: dict[str, tuple[str, ...]] = {}
        further: dict[str, tuple[str, ...]] = {}
        for kind in _UNKNOWN:
            expected[f"{kind}.label.order"] = ("u2", "u4")
            for part in ("id", "label"):
                expected |= sections(f"{kind}.{part}", PLAIN)
                further |= sections(f"{kind}.{part}", FRONT_CODED)
        arrays = read_sections(path, MAGIC, VERSION, expected, further)
        tables = [NameTable.of(path, kind, arrays) for kind in _UNKNOWN]
        if check:
            for table in tables:
                table.check(path)
        return cls(*tables)

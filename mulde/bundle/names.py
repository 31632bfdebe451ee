"""The ids and labels of one kind of thing, entities or relations.

An id is the external name and unique. A label is for people and may be shared; whatever has none is
its own label. Rows are dense and follow the order of the ids.

Shape letters: B names of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mulde.errors import AmbiguousLabel, BundleError, UnknownEntity, UnknownName, UnknownRelation
from mulde.storage.front_coding import FRONTS, column_arrays, column_of, narrow, shortest
from mulde.storage.sorted_lookup import Sorted
from mulde.storage.strings import COLUMNS, Strings
from mulde.typing import Array

Kind = Literal["entity", "relation"]
Rows = NDArray[np.int64]

_NAMED = ("id", "label")
_MAX_CHOICES = 10
_UNKNOWN: dict[Kind, type[UnknownName]] = {"entity": UnknownEntity, "relation": UnknownRelation}


@dataclass(frozen=True)
class Names:
    """The ids and labels of one kind of thing.

    Attributes:
        kind: "entity" or "relation", for error messages.
        ids: sorted, distinct.
        labels: one for each id; the ids themselves where nothing else is known.
        order: rows sorted by label, then by row; None where the labels are the ids.
    """

    kind: Kind
    ids: Strings
    labels: Strings
    order: NDArray[np.unsignedinteger] | None

    @classmethod
    def build(cls, kind: Kind, ids: Sequence[str], labels: Sequence[str]) -> Names:
        """Pack ids, which must be sorted and distinct, and their labels.

        Raises:
            ValueError: for no ids, unsorted or repeated ids, a missing label, or a name that cannot
                be stored (see ``Strings.build``).
        """
        if not ids:
            raise ValueError(f"expected at least one {kind}, found none")
        if len(ids) != len(labels):
            raise ValueError(f"expected {len(ids)} {kind} labels, found {len(labels)}")
        for before, after in pairwise(ids):
            if before >= after:
                raise ValueError(f"{kind} ids must be sorted and distinct: {before!r}, {after!r}")
        packed = Strings.build(ids)
        if list(ids) == list(labels):
            return cls(kind, packed, packed, None)
        order = sorted(range(len(labels)), key=labels.__getitem__)
        return cls(kind, packed, Strings.build(labels), np.array(order, dtype=np.uint32))

    def __len__(self) -> int:
        """How many there are."""
        return len(self.ids)

    def row(self, name: str) -> int:
        """The row that a name means: an exact id wins, else a label that only one thing has.

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
        """Rows [B] of names [B], as ``row`` finds them; raises for the first that it refuses."""
        rows = self.lookup(names)
        for place in np.flatnonzero(rows < 0).tolist():
            rows[place] = self.row(names[place])
        return rows

    def lookup(self, names: Sequence[str]) -> Rows:
        """Rows [B] of names [B]; -1 for each that ``row`` would refuse (``row`` says why)."""
        rows = self.rows_of_ids(names)
        missing = np.flatnonzero(rows < 0)
        if missing.size and self.order is not None:
            labels = [names[place] for place in missing.tolist()]
            rows[missing] = self._rows_of_unique_labels(labels)
        return rows

    def rows_of_ids(self, names: Sequence[str]) -> Rows:
        """Rows [B] of exact ids [B]; -1 where there is none."""
        return self._by_id.find(names)

    def rows_of_label(self, label: str) -> Rows:
        """All rows that have exactly this label, ascending; what has no label has its id."""
        start = int(self._by_label.find([label])[0])
        if start < 0:
            return np.zeros(0, dtype=np.int64)
        wanted, end = label.encode(), start + 1
        while end < len(self) and self._by_label[end] == wanted:
            end += 1
        return np.sort(self._by_label.rows(np.arange(start, end)))

    def _rows_of_unique_labels(self, labels: Sequence[str]) -> Rows:
        places = self._by_label.find(labels)
        again = self._by_label.equal(places + 1, labels)
        return np.where((places >= 0) & ~again, self._by_label.rows(places), -1)

    @cached_property
    def _by_id(self) -> Sorted:
        return Sorted(self.ids)

    @cached_property
    def _by_label(self) -> Sorted:
        return Sorted(self.labels, self.order)

    def arrays(self) -> dict[str, Array]:
        """The columns to write; no labels where every label is its id."""
        labels, order = Strings.build([]), np.zeros(0, np.uint16)
        if self.order is not None:
            labels = shortest(self.labels, self.order)
            order = self.order.astype(narrow(len(self)))
        return {
            **column_arrays(shortest(self.ids), f"{self.kind}.id"),
            **column_arrays(labels, f"{self.kind}.label"),
            f"{self.kind}.label.order": order,
        }

    @classmethod
    def of(cls, path: Path, kind: Kind, arrays: dict[str, Array]) -> Names:
        """The other way round, over mapped columns; ``check`` says whether they are sound."""
        ids, labels = (column_of(path, f"{kind}.{column}", arrays) for column in _NAMED)
        order = arrays[f"{kind}.label.order"]
        if len(ids) == 0:
            raise BundleError(path, f"expected at least one {kind} id")
        if len(labels) == len(order) == 0:
            return cls(kind, ids, ids, None)
        if len(labels) != len(ids) or len(order) != len(ids):
            raise BundleError(path, f"expected a label for each of {len(ids)} {kind} ids")
        return cls(kind, ids, labels, order)

    @staticmethod
    def columns(kind: Kind) -> dict[str, tuple[str, ...]]:
        """The columns of a kind and the types they may have."""
        ids, labels = ({f"{kind}.{c}.{part}": t for part, t in COLUMNS.items()} for c in _NAMED)
        return {**ids, **labels, f"{kind}.label.order": ("u2", "u4")}

    @staticmethod
    def further_columns(kind: Kind) -> dict[str, tuple[str, ...]]:
        """Those that a file of version 1 does not have."""
        return {f"{kind}.{c}.{part}": t for c in _NAMED for part, t in FRONTS.items()}

    def check(self, path: Path) -> None:
        """Read everything once and refuse what ``build`` would not have made.

        Raises:
            BundleError: naming the file and the column.
        """
        self.ids.check(path, f"{self.kind} ids")
        if not self.ids.rising(np.arange(len(self)), strict=True):
            raise BundleError(path, f"{self.kind} ids must be sorted and distinct")
        if self.order is None:
            return
        self.labels.check(path, f"{self.kind} labels")
        seen = np.zeros(len(self), dtype=bool)
        seen[self.order[self.order < len(self)]] = True
        if not seen.all() or not self.labels.rising(self.order, strict=False):
            raise BundleError(path, f"the order of {self.kind} labels is damaged")

"""Names of a request to rows of the vocabulary, and rows of answers to ids and labels.

One bad name fails one query. What was asked for lately is kept in memory; the rest is mapped.

Shape letters: B queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.entities.label_search import nearest_names
from mulde.bundle.entities.vocabulary import NameTable, Vocabulary
from mulde.errors import AmbiguousLabel, InvalidArgument, MuldeError, UnknownName
from mulde.storage.strings import StringColumn
from mulde.typing import Rows

Nearest = Callable[[str], Sequence[str]]

_EXPLAINED = 10
"""Failures of a request that come with the nearest spellings, which cost more than answers."""
_FEW = 1024
"""Names that are looked for among the recent ones first: 50 ns each, 2 us in the file."""
RECENT = 16_384
"""Names that are kept of each kind."""
_STEP = 2048
_MOST_RELATIONS = 10_000


@dataclass
class Resolved:
    """The queries of a request, by row.

    Attributes:
        size: B.
        errors: position in the batch -> why that query failed.
    """

    size: int
    errors: dict[int, MuldeError] = field(default_factory=dict)

    @property
    def valid(self) -> Rows:
        """Positions of the queries that did not fail, ascending."""
        kept = np.ones(self.size, dtype=bool)
        kept[list(self.errors)] = False
        return np.flatnonzero(kept)


class EntityResolver:
    """Looks names up in one model's vocabulary. Threads may share it."""

    def __init__(
        self, vocabulary: Vocabulary, max_name_bytes: int, nearest: Nearest, recent: int = RECENT
    ) -> None:
        """Look up nothing yet.

        Args:
            vocabulary: of the model.
            max_name_bytes: longest name.
            nearest: entity ids or labels spelled like a name that is none.
            recent: most names that are kept of each kind.
        """
        self._most_recent = recent
        self._vocabulary, self._max_bytes, self._nearest = vocabulary, max_name_bytes, nearest
        self._recent: dict[str, dict[str, int]] = {"entity": {}, "relation": {}}
        self._overlay: dict[str, int] = {}

    def follow(self, overlay: dict[str, int]) -> None:
        """Know the rows of entities beyond the vocabulary, by id and by unique label."""
        self._overlay = overlay
        self._recent["entity"] = {}

    def entities(self, field: str, names: Sequence[str], resolved: Resolved) -> Rows:
        """Rows [B] of entities; failures are added to ``resolved`` and have row 0."""
        return self._rows(self._vocabulary.entities, field, names, resolved, self._nearest)

    def relations(self, field: str, names: Sequence[str], resolved: Resolved) -> Rows:
        """Rows [B] of relations, likewise."""
        return self._rows(self._vocabulary.relations, field, names, resolved, self._near_relations)

    def all_entities(self, field: str, names: Sequence[str], check: Callable[[], None]) -> Rows:
        """Rows of entities that must all exist.

        Args:
            field: for errors.
            names: any number.
            check: called now and then; what it raises ends the work.

        Raises:
            InvalidArgument, UnknownEntity, AmbiguousLabel: for the first that fails.
        """
        rows = [np.zeros(0, np.int64)]
        for start in range(0, len(names), _STEP):
            check()
            part = names[start : start + _STEP]
            found = self._look_up(self._vocabulary.entities, part)
            failed = np.flatnonzero(found < 0)
            if len(failed):
                place = int(failed[0])
                where = f"{field}[{start + place}]"
                raise self._error(self._vocabulary.entities, where, part[place], self._nearest)
            rows.append(found)
        return np.concatenate(rows)

    def _near_relations(self, name: str) -> Sequence[str]:
        relations = self._vocabulary.relations
        if len(relations) > _MOST_RELATIONS:
            return ()
        return nearest_names([*relations.ids, *relations.labels], name)

    def _rows(
        self,
        names: NameTable,
        field: str,
        wanted: Sequence[str],
        resolved: Resolved,
        nearest: Nearest,
    ) -> Rows:
        recent = self._recent[names.kind]
        if len(wanted) <= _FEW:
            kept = [recent.get(name, -1) for name in wanted]
            if -1 not in kept:
                return np.array(kept, dtype=np.int64)
        rows = self._look_up(names, wanted)
        failed = np.flatnonzero(rows < 0).tolist()
        for place in failed:
            explain = nearest if len(resolved.errors) < _EXPLAINED else _nothing
            error = self._error(names, f"{field}[{place}]", wanted[place], explain)
            resolved.errors.setdefault(place, error)
        if failed:
            return np.maximum(rows, 0)
        if len(wanted) <= _FEW:
            if len(recent) > self._most_recent:
                recent.clear()
            recent.update(zip(wanted, rows.tolist(), strict=True))
        return rows

    def _look_up(self, names: NameTable, wanted: Sequence[str]) -> Rows:
        """Rows [B]; -1 for names that are unknown, ambiguous or not allowed."""
        rows = self._look_up_stored(names, wanted)
        if self._overlay and names.kind == "entity":
            for place in np.flatnonzero(rows < 0).tolist():
                rows[place] = self._overlay.get(wanted[place], -1)
        return rows

    def _look_up_stored(self, names: NameTable, wanted: Sequence[str]) -> Rows:
        """Rows [B] of the vocabulary."""
        short = self._max_bytes // 4
        if all(0 < len(name) <= short for name in wanted):
            return names.lookup(wanted)
        allowed = np.array([self._is_allowed(name) for name in wanted], dtype=bool)
        rows = np.full(len(wanted), -1, dtype=np.int64)
        rows[allowed] = names.lookup([wanted[place] for place in np.flatnonzero(allowed).tolist()])
        return rows

    def _is_allowed(self, name: str) -> bool:
        return 1 <= len(name.encode("utf-8", "replace")) <= self._max_bytes

    def _error(self, names: NameTable, field: str, name: str, nearest: Nearest) -> MuldeError:
        """Why a name has no row: in which field, and what is spelled like it."""
        if not self._is_allowed(name):
            size = len(name.encode("utf-8", "replace"))
            return InvalidArgument(field, f"1 to {self._max_bytes} bytes", f"{size} bytes")
        try:
            names.row(name)
        except UnknownName as error:
            return type(error)(error.name, nearest(error.name), field)
        except AmbiguousLabel as error:
            return AmbiguousLabel(error.label, error.choices, field)
        raise AssertionError(f"{field}: {name!r} has a row")


def _nothing(name: str) -> Sequence[str]:
    return ()


class _Column:
    """One column of names, in front of the mapped file."""

    def __init__(self, strings: StringColumn, recent: int) -> None:
        self.strings, self._most_recent = strings, recent
        self._kept: dict[int, str] = {}
        self.overlay: list[str] = []

    def _take_both(self, rows: NDArray[np.integer]) -> list[str]:
        """The strings of rows [B] of which some follow those that are stored."""
        first = len(self.strings)
        inside = iter(self.strings.take(rows[rows < first]))
        listed = rows.tolist()
        return [next(inside) if row < first else self.overlay[row - first] for row in listed]

    def take(self, rows: NDArray[np.integer]) -> list[str]:
        """The strings of rows [B]."""
        if self.overlay and (rows >= len(self.strings)).any():
            return self._take_both(rows)
        listed, kept = rows.tolist(), self._kept
        texts = [kept.get(row) for row in listed]
        places = [place for place, text in enumerate(texts) if text is None]
        if not places:
            return cast(list[str], texts)
        missing = list(dict.fromkeys(listed[place] for place in places))
        fresh = dict(zip(missing, self.strings.take(np.array(missing, np.int64)), strict=True))
        if len(kept) + len(fresh) > self._most_recent:
            kept.clear()
        if len(fresh) <= self._most_recent:
            kept.update(fresh)
        for place in places:
            texts[place] = fresh[listed[place]]
        return cast(list[str], texts)


class LabelCache:
    """Ids of rows, and labels where they differ. Threads may share it."""

    def __init__(self, names: NameTable, recent: int = RECENT) -> None:
        self._recent = recent
        self.ids = _Column(names.ids, recent)
        self.labels = self.ids if names.labels is names.ids else _Column(names.labels, recent)

    def follow(self, ids: list[str], labels: list[str]) -> None:
        """Know entities beyond the vocabulary, in the order of their rows."""
        if self.labels is self.ids and ids != labels:
            self.labels = _Column(self.ids.strings, self._recent)
        self.labels.overlay = labels
        self.ids.overlay = ids

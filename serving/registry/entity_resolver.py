"""Names of a request to rows of the vocabulary: one bad name fails one query.

Shape letters: B queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mulde.bundle.label_search import nearest_names
from mulde.bundle.vocabulary import NameTable, Vocabulary
from mulde.errors import AmbiguousLabel, MuldeError, UnknownName
from serving.engine.exclusions import Rows
from serving.registry.limits import Limits

Nearest = Callable[[str], Sequence[str]]

# Nearest spellings cost more than answers: a request gets them for its first failures only.
_EXPLAINED = 10
_FEW = 8
_RECENT = 8192
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
        if not self.errors:
            return np.arange(self.size)
        return np.array([i for i in range(self.size) if i not in self.errors], dtype=np.int64)


class Namer:
    """Looks names up in one model's vocabulary."""

    def __init__(self, vocabulary: Vocabulary, limits: Limits, nearest: Nearest) -> None:
        """Remember where to look.

        Args:
            vocabulary: of the model.
            limits: on the length of a name.
            nearest: entity ids or labels spelled like a name that is none.
        """
        self.vocabulary, self._limits, self._nearest = vocabulary, limits, nearest
        # What was found lately. Only names within the limits get here, so it may be asked first.
        self._recent: dict[str, dict[str, int]] = {"entity": {}, "relation": {}}

    def entities(self, field: str, names: Sequence[str], resolved: Resolved) -> Rows:
        """Rows [B] of entities; failures are added to ``resolved`` and have row 0."""
        return self._rows(self.vocabulary.entities, field, names, resolved, self._nearest)

    def relations(self, field: str, names: Sequence[str], resolved: Resolved) -> Rows:
        """Rows [B] of relations, likewise."""
        return self._rows(self.vocabulary.relations, field, names, resolved, self._near_relations)

    def _near_relations(self, name: str) -> Sequence[str]:
        relations = self.vocabulary.relations
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
        if len(wanted) > _FEW:
            return np.maximum(self._look_up(names, field, wanted, resolved, nearest), 0)
        recent = self._recent[names.kind]
        kept = [recent.get(name) for name in wanted]
        if None not in kept:
            return np.array(kept, dtype=np.int64)
        rows = self._look_up(names, field, wanted, resolved, nearest)
        if len(recent) > _RECENT:
            recent.clear()
        found = zip(wanted, rows.tolist(), strict=True)
        recent.update((name, row) for name, row in found if row >= 0)
        return np.maximum(rows, 0)

    def _look_up(
        self,
        names: NameTable,
        field: str,
        wanted: Sequence[str],
        resolved: Resolved,
        nearest: Nearest,
    ) -> Rows:
        """Rows [B]; -1 for names that are none, which are added to ``resolved``."""
        unsound = [place for place, name in enumerate(wanted) if not self._limits.allow(name)]
        for place in unsound:
            error = self._limits.problem_of_name(f"{field}[{place}]", wanted[place])
            resolved.errors.setdefault(place, error)
        if unsound:
            wanted = list(wanted)
            for place in unsound:
                wanted[place] = ""
        rows = names.lookup(wanted)
        missing = np.flatnonzero(rows < 0)
        for place in np.setdiff1d(missing, unsound).tolist():
            try:
                rows[place] = names.row(wanted[place])
            except MuldeError as error:
                near = nearest if len(resolved.errors) < _EXPLAINED else lambda name: ()
                resolved.errors.setdefault(place, _placed(error, f"{field}[{place}]", near))
        return rows

    def all_entities(self, field: str, names: Sequence[str]) -> Rows:
        """Rows of entities that must all exist.

        Raises:
            InvalidArgument, UnknownEntity, AmbiguousLabel: for the first that fails.
        """
        resolved = Resolved(len(names))
        rows = self.entities(field, names, resolved)
        if resolved.errors:
            raise resolved.errors[min(resolved.errors)]
        return rows


def _placed(error: MuldeError, field: str, nearest: Nearest) -> MuldeError:
    """The same error, saying in which field, and what is spelled like it."""
    if isinstance(error, UnknownName):
        return type(error)(error.name, nearest(error.name), field)
    if isinstance(error, AmbiguousLabel):
        return AmbiguousLabel(error.label, error.choices, field)
    return error.with_traceback(None)

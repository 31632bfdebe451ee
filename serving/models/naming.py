"""Names of a request to rows of the vocabulary: one bad name fails one query.

Shape letters: B queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mulde.errors import AmbiguousLabel, MuldeError, UnknownName
from mulde.search import nearest_names
from mulde.vocabulary import Names, Vocabulary
from serving.engine.excluded import Rows
from serving.models.limits import Limits

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
        self, names: Names, field: str, wanted: Sequence[str], resolved: Resolved, nearest: Nearest
    ) -> Rows:
        unsound = [place for place, name in enumerate(wanted) if not self._limits.allow(name)]
        for place in unsound:
            error = self._limits.problem_of_name(f"{field}[{place}]", wanted[place])
            resolved.errors.setdefault(place, error)
        if unsound:
            wanted = list(wanted)
            for place in unsound:
                wanted[place] = ""
        rows = self._rows_of_ids(names, wanted)
        rows[unsound] = 0
        for place in np.flatnonzero(rows < 0).tolist():
            try:
                rows[place] = names.row(wanted[place])
            except MuldeError as error:
                rows[place] = 0
                near = nearest if len(resolved.errors) < _EXPLAINED else lambda name: ()
                resolved.errors.setdefault(place, _placed(error, f"{field}[{place}]", near))
        return rows

    def _rows_of_ids(self, names: Names, wanted: Sequence[str]) -> Rows:
        """Rows [B] of exact ids, -1 for others; quick for a few that were asked for lately."""
        if len(wanted) > _FEW:
            return names.rows_of_ids(wanted)
        recent = self._recent[names.kind]
        rows = [recent.get(name) for name in wanted]
        if None in rows:
            found = names.rows_of_ids(wanted)
            if len(recent) > _RECENT:
                recent.clear()
            recent.update(
                (name, row) for name, row in zip(wanted, found.tolist(), strict=True) if row >= 0
            )
            return found
        return np.array(rows)

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
    return error

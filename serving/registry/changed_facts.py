"""Changed facts of one bundle, by row: the last change of each fact.

A batch of changes lies on top of those before it and is sorted by itself; now and then all are
sorted together. So a batch costs about the square root of the number of changes, not all of it.
Changes that the bundle carries already are left out.

Shape letters: n changes, k some of them in both directions, R relations.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from mulde.bundle.bundle import Bundle
from mulde.bundle.facts.amended_facts import AmendedFacts, FactLookup
from mulde.typing import Mask, Rows

_LEAST, _ROOTS = 1000, 16
"""Recent changes before all are sorted together: so many, or so many roots of all, if more."""
_ALL_ROWS = 1 << 31


class ChangedFacts:
    """See the module; ``known`` of before a batch stays valid after it."""

    def __init__(self, bundle: Bundle) -> None:
        """Begin with none."""
        self._bundle = bundle
        self._settled = self._recent = np.zeros((0, 3), np.int64), np.zeros(0, bool)
        self._lookup: FactLookup | None = bundle.known
        self._settled_both = self._settled

    def __bool__(self) -> bool:
        """Whether there is any change."""
        return bool(len(self._settled[0]) or len(self._recent[0]))

    def take(self, triples: Rows, removed: Mask) -> None:
        """Add changes in their order.

        Args:
            triples: [n, 3], heads, relations in [0, R) and tails.
            removed: [n], whether each is removed; else it is added.
        """
        self._recent = _last(self._recent, (triples, removed))
        if len(self._recent[0]) > max(_LEAST, _ROOTS * isqrt(len(self._settled[0]))):
            self._settled = self._effective(*_last(self._settled, self._recent))
            self._settled_both = self._both(*self._settled)
            self._recent = self._settled[0][:0], self._settled[1][:0]
            entities = self._bundle.manifest.entities
            self._lookup = AmendedFacts(self._bundle.known, entities, *self._settled_both)

    @property
    def known(self) -> FactLookup | None:
        """Known facts now; None where there are none at all."""
        if not len(self._recent[0]):
            return self._lookup
        is_plain = self._lookup is self._bundle.known
        entities = self._bundle.manifest.entities if is_plain else _ALL_ROWS
        return AmendedFacts(self._lookup, entities, *self._both(*self._recent))

    def of(self, entities: Rows) -> tuple[Rows, Mask]:
        """Return the changes of some entities.

        Args:
            entities: ascending.

        Returns:
            [k, 3], one of the entities, relation in [0, 2R), other entity; and [k], whether each is
            removed.
        """
        parts = []
        for both, removed in (self._settled_both, self._both(*self._recent)):
            own = np.isin(both[:, 0], entities)
            parts.append((both[own], removed[own]))
        return self._effective(*_last(*parts))

    @property
    def entities(self) -> Rows:
        """The entities of all changes, ascending."""
        return np.unique(np.concatenate([self._settled[0], self._recent[0]])[:, [0, 2]])

    def counts(self) -> tuple[int, int]:
        """Return how many facts are added, and how many are removed."""
        every, removed = self._effective(*_last(self._settled, self._recent))
        gone = int(removed.sum())
        return len(every) - gone, gone

    def knows(self, rows: Rows) -> Mask:
        """Return which facts [n, 3], relations in [0, 2R), the bundle knows by itself."""
        count, known = self._bundle.manifest.entities, np.zeros(len(rows), bool)
        inside = ((rows >= 0) & (rows < [count, 2**62, count])).all(axis=1)
        if self._bundle.known is not None and inside.any():
            known[inside] = self._bundle.known.contains(*rows[inside].T)
        return known

    def _effective(self, rows: Rows, removed: Mask) -> tuple[Rows, Mask]:
        """Leave out changes that the bundle carries."""
        matters = self.knows(rows) == removed
        return rows[matters], removed[matters]

    def _both(self, triples: Rows, removed: Mask) -> tuple[Rows, Mask]:
        """Return changes [2 n, 3] as (entity, relation in [0, 2R), other entity), and states."""
        back = triples[:, ::-1] + [0, self._bundle.manifest.relations, 0]
        return np.concatenate([triples, back]), np.tile(removed, 2)


def _last(before: tuple[Rows, Mask], after: tuple[Rows, Mask]) -> tuple[Rows, Mask]:
    """Return the last of each group of equal rows [n, 3], in their order, with its state."""
    rows, states = (np.concatenate(parts) for parts in zip(before, after, strict=True))
    order = np.lexsort(rows.T)  # stable
    ordered = rows[order]
    is_last = np.ones(len(rows), bool)
    is_last[:-1] = (ordered[1:] != ordered[:-1]).any(axis=1)
    kept = np.sort(order[is_last])
    return rows[kept], states[kept]

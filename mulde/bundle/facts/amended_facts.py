"""Known facts with changes on top: some added, some removed, also of entities beyond the bundle.

Shape letters: n changed facts, both directions counted, B queries, F known tails of all queries.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mulde.runs import run_places
from mulde.typing import Ints, Mask, Offsets, Rows

_STRIDE = 1 << 31


class FactLookup(Protocol):
    """Known facts of queries (entity, relation, ?), relations in [0, 2R)."""

    def of_many(self, entities: Ints, relations: Ints) -> tuple[Offsets, Ints]:
        """Return offsets [B + 1] and tails [F], ascending for each query."""

    def sizes(self, entities: Ints, relations: Ints) -> Rows:
        """Return sizes [B] of the known tails without reading them: 0, or at least their number."""

    def contains(self, heads: Ints, relations: Ints, tails: Ints) -> Mask:
        """Return whether each triple [B] is known."""

    def marks(self, entities: Ints, relations: Ints, offsets: Ints, tails: Ints) -> Mask:
        """Return whether each of the tails [A] that queries were answered with is known."""


class AmendedFacts:
    """See ``FactLookup``; immutable."""

    def __init__(
        self, base: FactLookup | None, entities: int, triples: Rows, removed: Mask
    ) -> None:
        """Put changes on top of known facts.

        Args:
            base: what they change; None for nothing.
            entities: rows that ``base`` knows, from 0.
            triples: [n, 3] of entity, relation in [0, 2R) and tail; both directions, distinct.
            removed: [n], whether each is removed; else it is added.
        """
        self._base, self._entities = base, entities
        self.size = len(triples)
        keys = triples[:, 1] * _STRIDE + triples[:, 0]
        order = np.lexsort((triples[:, 2], keys))
        self._keys, self._tails, self._removed = keys[order], triples[order, 2], removed[order]

    def of_many(self, entities: Ints, relations: Ints) -> tuple[Offsets, Rows]:
        """See ``FactLookup``."""
        offsets, tails = self._of_base(entities, relations)
        wanted = np.asarray(relations, np.int64) * _STRIDE + entities
        first, last = (self._keys.searchsorted(wanted, side) for side in ("left", "right"))
        counts = last - first
        if not counts.any():
            return offsets, tails
        every = np.arange(len(wanted))
        places = run_places(first, counts)
        owners = np.concatenate([np.repeat(every, np.diff(offsets)), np.repeat(every, counts)])
        rows = np.concatenate([tails, self._tails[places]])
        removed = np.concatenate([np.zeros(len(tails), bool), self._removed[places]])
        return _merged(owners, rows, removed, len(wanted))

    def _of_base(self, entities: Ints, relations: Ints) -> tuple[Offsets, Rows]:
        inside = np.asarray(entities) < self._entities
        if self._base is None or not inside.any():
            return np.zeros(len(entities) + 1, np.int64), np.zeros(0, np.int64)
        offsets, tails = self._base.of_many(entities[inside], relations[inside])
        counts = np.zeros(len(entities), np.int64)
        counts[inside] = np.diff(offsets)
        return np.append(0, counts.cumsum()), tails.astype(np.int64)

    def sizes(self, entities: Ints, relations: Ints) -> Rows:
        """See ``FactLookup``."""
        wanted = np.asarray(relations, np.int64) * _STRIDE + entities
        first, last = (self._keys.searchsorted(wanted, side) for side in ("left", "right"))
        sizes = last - first
        inside = np.asarray(entities) < self._entities
        if self._base is not None and inside.any():
            sizes[inside] += self._base.sizes(entities[inside], relations[inside])
        return sizes

    def contains(self, heads: Ints, relations: Ints, tails: Ints) -> Mask:
        """See ``FactLookup``."""
        pairs = np.column_stack([heads, relations])
        asked, which = np.unique(pairs, axis=0, return_inverse=True)
        return _among(which.reshape(-1), tails, *self.of_many(asked[:, 0], asked[:, 1]))

    def marks(self, entities: Ints, relations: Ints, offsets: Ints, tails: Ints) -> Mask:
        """See ``FactLookup``."""
        owners = np.repeat(np.arange(len(entities)), np.diff(offsets))
        return _among(owners, tails, *self.of_many(entities, relations))


def _merged(owners: Rows, rows: Rows, removed: Mask, queries: int) -> tuple[Offsets, Rows]:
    """Return distinct pairs without the removed ones, as compressed rows."""
    pairs = owners * _STRIDE + rows
    gone = np.unique(pairs[removed])
    kept = np.setdiff1d(pairs, gone)  # ascending and distinct
    counts = np.bincount(kept // _STRIDE, minlength=queries)
    return np.append(0, counts.cumsum()), kept % _STRIDE


def _among(owners: Rows, tails: Ints, offsets: Ints, known: Ints) -> Mask:
    """Return whether tails [A] are among the known ones of their owners [A]."""
    if not len(known):
        return np.zeros(len(owners), dtype=bool)
    facts = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)) * _STRIDE + known
    wanted = owners * _STRIDE + np.asarray(tails, np.int64)
    places = np.minimum(facts.searchsorted(wanted), len(facts) - 1)
    found: Mask = facts[places] == wanted
    return found

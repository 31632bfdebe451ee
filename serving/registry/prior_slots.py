"""Relation priors follow changed facts: which slots fill which prior column of a bundle.

A slot is a relation row r in [0, 2R): an entity fills it if it is an answer there, (.., r, ?). A
prior column is 1 for entities that fill one of its slots in train. A bundle names its columns on
the card alone, but its types say which entities fill which slot in train: ``tail:REL`` those of r,
``head:REL`` those of r + R. So the slots of a column are those whose entities all have it.

Shape letters: E entities of the table, m some, R relations, J columns, n changed facts.
"""

from __future__ import annotations

import numpy as np

from mulde.bundle.bundle import Bundle
from mulde.bundle.facts.amended_facts import FactLookup
from mulde.typing import Float32, Mask, Rows
from serving.engine.changed_priors import ChangedPriors
from serving.engine.entity_table import EntityTable

_STEP = 1 << 16


class PriorSlots:
    """The slots of each prior column."""

    def __init__(self, bundle: Bundle, table: EntityTable) -> None:
        """Find the slots; a column that its types do not explain has none and stays as it is."""
        self._bundle, self._table, self._layout = bundle, table, bundle.manifest.layout
        self._count = bundle.manifest.relations
        columns = self._columns()
        self._values = columns.min(axis=0), columns.max(axis=0)
        filled = columns > np.mean(self._values, axis=0)
        members = self._members() if len(filled.T) else []
        self.slots = [_slots_of(filled[:, place], members) for place in range(filled.shape[1])]

    def _columns(self) -> Float32:
        """Return the prior columns of the table, [E, J]."""
        entities, priors = self._bundle.manifest.entities, self._layout.priors
        steps = [np.arange(at, min(at + _STEP, entities)) for at in range(0, entities, _STEP)]
        return np.concatenate([self._table.rows(s)[:, priors] for s in steps]).astype(np.float32)

    def _members(self) -> list[Rows]:
        """Return the entities that fill each of the 2R slots in train; none without types."""
        types = self._bundle.types
        if types is None:
            return []
        relations = self._bundle.vocabulary.relations.ids
        names = [f"{side}:{name}" for side in ("tail", "head") for name in relations]
        return [types.of(name).astype(np.int64) for name in names]

    def columns(
        self, entities: Rows, facts: Rows, removed: Mask, known: FactLookup | None
    ) -> Float32:
        """Return the columns [m, J] that entities have after changes.

        An added fact fills its slots. After a removed one a slot of the entity stays filled if
        another known fact remains in the column's slots.

        Args:
            entities: [m], ascending, of the table or the overlay.
            facts: [n, 3], all changes of these entities: entity, relation in [0, 2R), other one.
            removed: [n], whether each is removed; else it is added.
            known: known facts now.
        """
        empty, full = self._values
        now = self._before(entities)
        slot_of = (facts[:, 1] + self._count) % (2 * self._count)  # where the entity is an answer
        for place, slots in enumerate(self.slots):
            here = np.isin(slot_of, slots)
            gained = np.unique(facts[here & ~removed, 0])
            lost = np.setdiff1d(facts[here & removed, 0], gained)
            lost = lost[~self._fills(lost, slots, known)]
            now[entities.searchsorted(gained), place] = full[place]
            now[entities.searchsorted(lost), place] = empty[place]
        return now

    def _before(self, entities: Rows) -> Float32:
        """Return the columns [m, J] of the training; nothing is filled beyond the table."""
        inside = int(entities.searchsorted(self._bundle.manifest.entities))
        before = np.tile(self._values[0], (len(entities), 1)).astype(np.float32)
        before[:inside] = self._table.rows(entities[:inside])[:, self._layout.priors]
        return before

    def changed(
        self, former: ChangedPriors | None, entities: Rows, columns: Float32
    ) -> ChangedPriors | None:
        """Return which entities of the table have other columns than it; None for none.

        Args:
            former: of before.
            entities: [m], ascending, whose columns may have changed since.
            columns: [m, J], theirs now.
        """
        differs = (columns != self._before(entities)).any(axis=1)
        rows, now = entities[differs], columns[differs]
        if former is not None:
            kept = ~np.isin(former.rows, entities)
            rows = np.concatenate([former.rows[kept], rows])
            now = np.concatenate([former.columns[kept], now])
        if not len(rows):
            return None
        order = rows.argsort()
        return ChangedPriors(self._table, self._layout, rows[order], now[order])

    def _fills(self, entities: Rows, slots: Rows, known: FactLookup | None) -> Mask:
        """Return whether known facts have each entity as an answer in one of the slots."""
        fills, count = np.zeros(len(entities), bool), self._count
        if known is None:
            return fills
        for slot in slots.tolist():
            back = np.full(len(entities), (slot + count) % (2 * count))
            fills |= np.diff(known.of_many(entities, back)[0]) > 0
        return fills


def _slots_of(filled: Mask, members: list[Rows]) -> Rows:
    """Return the slots whose members are the filled entities [E]; a single slot where one is."""
    within = [slot for slot, rows in enumerate(members) if len(rows) and filled[rows].all()]
    count = np.count_nonzero(filled)
    for slot in within:
        if len(members[slot]) == count:
            return np.array([slot])
    reached = np.zeros_like(filled)
    for slot in within:
        reached[members[slot]] = True
    return np.array(within if np.array_equal(reached, filled) else [], np.int64)

"""Follow a store of facts: what one loaded model makes of the changes since its training.

The store has names; here they become rows of one version. ``refresh`` reads what is new, places the
entities that new facts are about, and gives the model an engine that knows all of it.

Shape letters: n changed facts, O entities of the overlay, W width, R relations.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mulde.bundle.bundle import Bundle
from mulde.bundle.files import ENTITIES
from mulde.storage.fact_records import Change, NewEntity
from mulde.storage.fact_store import FactStore
from mulde.typing import Mask, Rows
from serving.engine.engine import Engine
from serving.engine.entity_table import EntityTable
from serving.engine.overlay import Amendments, Overlay
from serving.registry.changed_facts import ChangedFacts
from serving.registry.new_entities import NewEntities
from serving.registry.placed_entities import PlacedEntities
from serving.registry.placement import Placer
from serving.registry.prior_slots import PriorSlots

_NO_ROWS = np.zeros(0, np.int64)


class LiveFacts:
    """The changes of one store as rows of one bundle. Threads may share it.

    Attributes:
        store: of the changes.
        entities: those that the bundle lacks.
    """

    def __init__(self, store: FactStore, bundle: Bundle) -> None:
        """Read nothing yet."""
        self.store, self._bundle = store, bundle
        self.entities = NewEntities(bundle.manifest.entities, (), np.zeros(0, bool))
        self._texts: list[NewEntity] = []  # in the order of their rows
        self._lock = threading.Lock()
        self._generation: tuple[int, int] | None = None
        self._sequence = self._number = 0
        self._places: dict[str, int] = {}
        self._facts = ChangedFacts(bundle)
        self._slots: PriorSlots | None = None
        self._changed: list[Rows] = [_NO_ROWS]  # entities of facts just read
        self._placed = PlacedEntities(store, bundle.manifest.files[ENTITIES].sha256)

    def refresh(self, engine: Engine, placer: Placer) -> tuple[Engine, NewEntities] | None:
        """Read what is new in the store.

        Args:
            engine: of the model, with what was read before.
            placer: of the same bundle.

        Returns:
            the engine that knows it, and the entities beyond the table; None where nothing is new.

        Raises:
            StoreError: if the store cannot be read.
        """
        with self._lock:
            generation = self.store.generation
            if generation == self._generation:
                return None
            number, touched = self._number, self._read()
            overlay = engine.amendments.overlay
            if len(touched) or number != self._number:
                own, removed = self._facts.of(touched)
                is_start = self._generation is None
                overlay = self._placed.placed(
                    overlay, self._texts, touched, own[~removed], placer, stored=is_start
                )
                self.entities = NewEntities(overlay.first, self._texts, overlay.is_candidate)
            self._generation = generation
            found = self._amendments(engine.amendments, overlay, engine.loaded.table)
            return engine.amended(found), self.entities

    def keep(self, overlay: Overlay) -> None:
        """Write the vectors of entities that were placed since the last time.

        Args:
            overlay: of the model, as it is now.

        Raises:
            StoreError: if the store cannot be written.
        """
        with self._lock:
            self._placed.keep(overlay, self._texts)

    def _read(self) -> Rows:
        """Read what is new; the overlay entities that are to be placed."""
        changes = self.store.changes(self._sequence)
        self._take_entities(self.store.entities(self._number))
        lost = self.store.compacted > self._sequence > 0  # some may have been dropped unread
        if lost:
            changes = self.store.changes()
            self._changed.append(self._facts.entities)
            self._facts = ChangedFacts(self._bundle)
        touched = self._take(changes)
        if changes:
            self._sequence = changes[-1].sequence
        first = self._bundle.manifest.entities
        return np.arange(first, first + len(self._texts)) if lost else touched

    def _take_entities(self, entities: Sequence[NewEntity]) -> None:
        """Give rows to entities that the bundle lacks; those that have one get their new texts."""
        if not entities:
            return
        self._number = entities[-1].number
        rows = self._bundle.vocabulary.entities.rows_of_ids([one.id for one in entities])
        for one, row in zip(entities, rows.tolist(), strict=True):
            place = self._places.setdefault(one.id, len(self._texts)) if row < 0 else None
            if place == len(self._texts):
                self._texts.append(one)
            elif place is not None:
                self._texts[place] = one

    def _take(self, changes: Sequence[Change]) -> Rows:
        """Add changes as rows; the overlay entities that they are about."""
        if not changes:
            return np.zeros(0, np.int64)
        rows = self._rows_of_facts(changes)
        removed = np.array([change.removed for change in changes])
        usable = (rows >= 0).all(axis=1)  # the model of another version may know other relations
        rows, removed = rows[usable], removed[usable]
        self._facts.take(rows, removed)
        about = rows[:, [0, 2]]
        self._changed.append(about.ravel())
        beyond = about >= self._bundle.manifest.entities
        sequences = np.array([change.sequence for change in changes])[usable]
        by_sequence = np.repeat(sequences[:, None], 2, axis=1)
        self._placed.changed(about[beyond], by_sequence[beyond])
        return np.unique(about[beyond])

    def _rows_of_facts(self, changes: Sequence[Change]) -> Rows:
        """Return rows [n, 3] of heads, relations and tails; -1 for unknown names."""
        heads, relations, tails = zip(*(change.fact for change in changes), strict=True)
        names = self._bundle.vocabulary.relations
        return np.column_stack(
            [self.rows_of(heads), names.rows_of_ids(relations), self.rows_of(tails)]
        )

    def carries(self, changes: Sequence[Change]) -> Mask:
        """Return which changes are part of the bundle, so that it needs no store for them."""
        removed = np.array([change.removed for change in changes], bool)
        if not changes:
            return removed
        carried: Mask = self._facts.knows(self._rows_of_facts(changes)) != removed
        return carried

    def counts(self) -> dict[str, int]:
        """Facts added and removed, and entities added, of the last change of each."""
        added, removed = self._facts.counts()
        return {"facts added": added, "facts removed": removed, "entities": len(self._texts)}

    def rows_of(self, ids: Sequence[str]) -> Rows:
        """Return rows of entity ids, of the table or the overlay; -1 for others."""
        rows = self._bundle.vocabulary.entities.rows_of_ids(list(ids)).astype(np.int64)
        first = self._bundle.manifest.entities
        for place in np.flatnonzero(rows < 0).tolist():
            own = self._places.get(ids[place])
            rows[place] = -1 if own is None else first + own
        return rows

    def _amendments(self, former: Amendments, overlay: Overlay, table: EntityTable) -> Amendments:
        """Return what changed; of the prior columns, those of the entities that were changed."""
        layout, known = self._bundle.manifest.layout, self._facts.known
        changed, self._changed = np.unique(np.concatenate(self._changed)), [_NO_ROWS]
        if not (layout.prior_count and len(changed)):
            return Amendments(known, overlay, former.priors)
        self._slots = self._slots or PriorSlots(self._bundle, table)
        facts, removed = self._facts.of(changed)
        columns = self._slots.columns(changed, facts, removed, known)
        inside = int(changed.searchsorted(overlay.first))
        if inside < len(changed):
            as_answer = overlay.as_answer.copy()  # requests may be reading the former
            as_answer[changed[inside:] - overlay.first, layout.priors] = columns[inside:]
            overlay = replace(overlay, as_answer=as_answer)
        priors = self._slots.changed(former.priors, changed[:inside], columns[:inside])
        return Amendments(known, overlay, priors)

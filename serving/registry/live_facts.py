"""Follow a store of facts: what one loaded model makes of the changes since its training.

The store has names; here they become rows of one version. ``refresh`` reads what is new, places the
entities that new facts are about, and gives the model an engine that knows all of it.

Shape letters: n changed facts, O entities of the overlay, W width, R relations.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mulde.bundle.bundle import Bundle
from mulde.bundle.files import ENTITIES
from mulde.storage.fact_store import Change, FactStore, NewEntity, StoredPlacement
from mulde.typing import Mask, Rows
from serving.engine.engine import Engine
from serving.engine.entity_table import EntityTable
from serving.engine.overlay import Amendments, Overlay
from serving.engine.placement import Placer
from serving.registry.changed_facts import ChangedFacts
from serving.registry.new_entities import NewEntities
from serving.registry.prior_slots import PriorSlots

MOST_FACTS_OF_ENTITY = 100
"""Facts that an entity is placed by, its newest."""
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
        self._model_id = bundle.manifest.files[ENTITIES].sha256
        self._changed_last: dict[int, int] = {}  # sequence of the last change of each new entity
        self._placed_last: set[int] = set()  # entities whose vectors are not stored yet

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
                overlay = self._placed(overlay, touched, placer)
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
            rows = [row for row in self._placed_last if row < overlay.stop]
            self._placed_last -= set(rows)
            places = [row - overlay.first for row in rows]
            found = {
                self._texts[place].id: StoredPlacement(
                    self._changed_last[place + overlay.first],
                    np.stack([overlay.as_query[place], overlay.as_answer[place]]).tobytes(),
                )
                for place in places
                if overlay.is_candidate[place]
            }
            if found:
                self.store.keep_placements(self._model_id, found)

    def _stored(self, overlay: Overlay, waiting: Rows) -> Rows:
        """Take over vectors that are stored, and return the entities that still wait."""
        is_start = self._generation is None
        found = self.store.placements(self._model_id) if is_start else {}
        size, width = 2 * 4 * overlay.as_query.shape[1], overlay.as_query.shape[1]
        left = []
        for row in waiting.tolist():
            place = row - overlay.first
            one = found.get(self._texts[place].id)
            stale = one is None or one.sequence != self._changed_last.get(row)
            if one is None or stale or len(one.vectors) != size:
                left.append(row)
                continue
            vectors = np.frombuffer(one.vectors, np.float32).reshape(2, width)
            overlay.as_query[place], overlay.as_answer[place] = vectors
            overlay.is_candidate[place] = True
            self._placed_last.discard(row)
        return np.array(left, np.int64)

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
        self._changed_last |= zip(about[beyond].tolist(), by_sequence[beyond].tolist(), strict=True)
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

    def _placed(self, former: Overlay, touched: Rows, placer: Placer) -> Overlay:
        """Return an overlay in which the touched entities are placed anew."""
        count, width = len(self._texts), self._bundle.manifest.width
        overlay = Overlay(
            former.first,
            np.zeros((count, width), np.float32),
            np.zeros((count, width), np.float32),
            np.zeros(count, bool),
        )
        done = len(former)
        overlay.as_query[:done], overlay.as_answer[:done] = former.as_query, former.as_answer
        overlay.is_candidate[:done] = former.is_candidate
        overlay.is_candidate[touched - former.first] = False
        own, removed = self._facts.of(touched)
        facts = own[~removed]
        self._placed_last.update(touched.tolist())
        waiting = self._stored(overlay, touched)
        while len(waiting):  # an entity may be placed by others that are placed first
            placed = [row for row in waiting.tolist() if self._place(row, facts, overlay, placer)]
            if not placed:
                break
            waiting = np.setdiff1d(waiting, placed)
        return overlay

    def _place(self, row: int, facts: Rows, overlay: Overlay, placer: Placer) -> bool:
        """Place one entity by its facts with entities that have rows; whether it has any."""
        own = facts[facts[:, 0] == row]
        beyond = own[:, 2] - overlay.first
        has_row = beyond < 0
        has_row[beyond >= 0] = overlay.is_candidate[beyond[beyond >= 0]]
        own = own[has_row][-MOST_FACTS_OF_ENTITY:]
        if not len(own):
            return False
        placement = placer.place(placer.query_rows(overlay, own[:, 2]), own[:, 1])
        place = row - overlay.first
        overlay.as_query[place], overlay.as_answer[place] = placement.as_query, placement.as_answer
        overlay.is_candidate[place] = True
        return True


def unplaceable(facts: Mapping[str, set[str]], has_row: set[str]) -> list[str]:
    """Return the new entities that no chain of facts connects with an entity that has a row.

    Args:
        facts: new entity -> entities that its facts name.
        has_row: entities among them that have a row already.
    """
    reached, waiting = set(has_row), dict(facts)
    while found := [name for name, others in waiting.items() if others & reached]:
        reached.update(found)
        for name in found:
            del waiting[name]
    return sorted(waiting)

"""Vectors of the entities that a model has beyond its table: placed, stored and read again.

Shape letters: k facts, O entities of the overlay, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mulde.storage.fact_records import NewEntity, StoredPlacement
from mulde.storage.fact_store import FactStore
from mulde.typing import Float32, Rows
from serving.engine.overlay import Overlay
from serving.registry.placement import Placer

MOST_FACTS_OF_ENTITY = 100
"""Facts that an entity is placed by, its newest."""


class PlacedEntities:
    """Places entities of one model, and keeps their vectors in the store."""

    def __init__(self, store: FactStore, model_id: str) -> None:
        """Place nothing yet; stored vectors hold for the model with this id."""
        self._store, self._model_id = store, model_id
        self._changes: dict[int, int] = {}  # sequence of the last change of each entity, by row
        self._unsaved: set[int] = set()  # rows whose vectors are not stored yet

    def changed(self, rows: Rows, sequences: Rows) -> None:
        """Note the last changes of entities [k], in their order."""
        self._changes |= zip(rows.tolist(), sequences.tolist(), strict=True)

    def placed(
        self,
        former: Overlay,
        entities: Sequence[NewEntity],
        touched: Rows,
        facts: Rows,
        placer: Placer,
        *,
        stored: bool,
    ) -> Overlay:
        """Return an overlay in which the touched entities are placed anew.

        Args:
            former: of before.
            entities: [O], in the order of their rows.
            touched: ascending rows.
            facts: [k, 3], known facts of the touched ones: entity, relation in [0, 2R), other one.
            placer: of the model.
            stored: whether to take vectors that are stored for the same last change.
        """
        overlay = _extended(former, len(entities))
        overlay.is_candidate[touched - overlay.first] = False
        self._unsaved.update(touched.tolist())
        waiting = set(touched.tolist())
        if stored:
            waiting -= self._read(overlay, entities, touched)
        while waiting:  # an entity may be placed by others that are placed first
            placed = {row for row in sorted(waiting) if _place(row, facts, overlay, placer)}
            if not placed:
                break
            waiting -= placed
        return overlay

    def _read(self, overlay: Overlay, entities: Sequence[NewEntity], rows: Rows) -> set[int]:
        """Take over stored vectors, and return the rows that have them."""
        found, taken = self._store.placements(self._model_id), set()
        shape = 2, overlay.as_query.shape[1]
        for row in rows.tolist():
            place = row - overlay.first
            one = found.get(entities[place].id)
            if one is None or one.sequence != self._changes.get(row):
                continue
            vectors = np.frombuffer(one.vectors, np.float32)
            if vectors.size == shape[0] * shape[1]:
                _put(overlay, place, *vectors.reshape(shape))
                taken.add(row)
        self._unsaved -= taken
        return taken

    def keep(self, overlay: Overlay, entities: Sequence[NewEntity]) -> None:
        """Write the vectors of entities that were placed since the last time.

        Args:
            overlay: as it is now.
            entities: [O], in the order of their rows.

        Raises:
            StoreError: if the store cannot be written.
        """
        alive = [row for row in self._unsaved if overlay.is_candidate[row - overlay.first]]
        self._unsaved.clear()
        if not alive:
            return
        vectors = {row: _vectors(overlay, row - overlay.first) for row in alive}
        found = {
            entities[row - overlay.first].id: StoredPlacement(self._changes[row], vectors[row])
            for row in alive
        }
        self._store.keep_placements(self._model_id, found)


def _extended(former: Overlay, count: int) -> Overlay:
    """Return a copy of an overlay with so many entities; further ones have no place yet."""
    done, width = len(former), former.as_query.shape[1]
    as_query, as_answer = np.zeros((2, count, width), np.float32)
    is_candidate = np.zeros(count, bool)
    as_query[:done], as_answer[:done] = former.as_query, former.as_answer
    is_candidate[:done] = former.is_candidate
    return Overlay(former.first, as_query, as_answer, is_candidate)


def _put(overlay: Overlay, place: int, as_query: Float32, as_answer: Float32) -> None:
    overlay.as_query[place], overlay.as_answer[place] = as_query, as_answer
    overlay.is_candidate[place] = True


def _vectors(overlay: Overlay, place: int) -> bytes:
    return np.stack([overlay.as_query[place], overlay.as_answer[place]]).tobytes()


def _place(row: int, facts: Rows, overlay: Overlay, placer: Placer) -> bool:
    """Place one entity by its facts with entities that have rows; whether it has any."""
    own = facts[facts[:, 0] == row]
    beyond = own[:, 2] - overlay.first
    has_row = beyond < 0
    has_row[beyond >= 0] = overlay.is_candidate[beyond[beyond >= 0]]
    own = own[has_row][-MOST_FACTS_OF_ENTITY:]
    if not len(own):
        return False
    placement = placer.place(placer.query_rows(overlay, own[:, 2]), own[:, 1])
    rows = placement.as_query.astype(np.float32), placement.as_answer.astype(np.float32)
    _put(overlay, row - overlay.first, *rows)
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

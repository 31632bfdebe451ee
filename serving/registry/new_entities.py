"""Names, texts and types of the entities that a model has beyond its table.

Shape letters: O entities of the overlay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from mulde.bundle.entities.label_search import SearchIndex, fold
from mulde.storage.fact_records import NewEntity
from mulde.storage.strings import StringColumn
from mulde.typing import Mask, Rows


class NewEntities:
    """Entities of the overlay by name, by what was typed, and by type; immutable."""

    def __init__(self, first: int, entities: Sequence[NewEntity], is_alive: Mask) -> None:
        """Remember them.

        Args:
            first: row of the first.
            entities: in the order of their rows.
            is_alive: [O], which have facts; the others have no name.
        """
        self._first, self._entities = first, tuple(entities)
        self._alive: list[int] = np.flatnonzero(is_alive).tolist()

    @property
    def ids(self) -> list[str]:
        """Ids by row."""
        return [one.id for one in self._entities]

    @property
    def labels(self) -> list[str]:
        """Labels by row; the id where there is none."""
        return [one.label or one.id for one in self._entities]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Rows by id, and by label where one entity alone has it."""
        own = {place: self._entities[place] for place in self._alive}
        count = Counter(one.label for one in own.values())
        labels = {one.label: place for place, one in own.items() if count[one.label] == 1}
        labels.pop("", None)
        named = labels | {one.id: place for place, one in own.items()}
        return {name: self._first + place for name, place in named.items()}

    def of(self, row: int) -> NewEntity | None:
        """Return the entity of a row; None for one of the table."""
        place = row - self._first
        return self._entities[place] if 0 <= place < len(self._entities) else None

    @cached_property
    def _by_type(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place in self._alive:
            for name in self._entities[place].types:
                found.setdefault(name, []).append(self._first + place)
        return found

    def of_type(self, name: str) -> Rows:
        """Return the rows, ascending, of the entities with a type."""
        return np.array(self._by_type.get(name, ()), np.int64)

    @cached_property
    def _index(self) -> SearchIndex | None:
        labels = [self._entities[place].label or self._entities[place].id for place in self._alive]
        return SearchIndex.build(StringColumn.build(labels)) if labels else None

    def find(self, text: str, k: int) -> tuple[list[int], list[int]]:
        """Return up to k rows for what was typed: those with exactly that label, and others."""
        if self._index is None:
            return [], []
        places = [self._alive[place] for place in self._index.find(text, k)]
        wanted = fold(text)
        exact: list[int] = []
        others: list[int] = []
        for place in places:
            one = self._entities[place]
            same = fold(one.label or one.id) == wanted
            (exact if same else others).append(self._first + place)
        return exact, others

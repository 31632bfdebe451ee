"""What a server lists: entities found by a search, relations, models, changed facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mulde.client.failures import error_of
from mulde.errors import MuldeError
from mulde.typing import Rows
from mulde.v1 import facts_pb2, model_pb2, vocabulary_pb2


@dataclass(frozen=True)
class Found:
    """Entities found for a batch of searches; ``found[i]`` are (id, label) of search i."""

    model: str
    offsets: Rows
    rows: Rows
    ids: list[str]
    labels: list[str]
    next_page_token: str
    errors: dict[int, MuldeError]

    @classmethod
    def of(cls, message: vocabulary_pb2.SearchEntitiesResponse) -> Found:
        """Unpack a response."""
        return cls(
            f"{message.model.name}/{message.model.version}",
            np.array(message.offsets, dtype=np.int64),
            np.array(message.rows, dtype=np.int64),
            list(message.ids),
            list(message.labels),
            message.next_page_token,
            {error.query: error_of(error.status) for error in message.errors},
        )

    def __len__(self) -> int:
        """How many searches."""
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> list[tuple[str, str]]:
        """(id, label) of what was found, best first.

        Raises:
            MuldeError: if that search failed: why.
        """
        place = range(len(self))[query]
        if place in self.errors:
            raise self.errors[place]
        part = slice(self.offsets[place], self.offsets[place + 1])
        return list(zip(self.ids[part], self.labels[part], strict=True))


@dataclass(frozen=True)
class Relations:
    """Relations of a model; iterates over (id, label)."""

    model: str
    ids: list[str]
    labels: list[str]

    def __len__(self) -> int:
        """R."""
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(id, label) by ascending id."""
        return iter(zip(self.ids, self.labels, strict=True))


@dataclass(frozen=True)
class ChangedFact:
    """A fact that was added or removed after the training.

    Attributes:
        head, relation, tail: ids.
        removed: whether it was removed; else it was added.
        time_s: when, in seconds since 1970.
    """

    head: str
    relation: str
    tail: str
    removed: bool
    time_s: float

    @classmethod
    def of(cls, page: facts_pb2.ListChangedFactsResponse) -> list[ChangedFact]:
        """The changes of a page."""
        facts = page.facts
        columns = facts.heads, facts.relations, facts.tails, page.removed, page.times_s
        return [cls(*values) for values in zip(*columns, strict=True)]


Models = list[model_pb2.Model]

"""What callers ask of an engine, and one call of the engine for several of them.

Shape letters: B queries.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np

from serving.engine.answers import Answers
from serving.engine.engine import Engine
from serving.engine.exclusions import Rows


@dataclass(frozen=True)
class Ask:
    """Queries (entity, relation, ?) that one caller asks at once.

    Attributes:
        entities, relations: [B] rows.
        k: answers wanted for each.
        exclude_known, exact: see ``Engine.predict``.
        allow, deny: see ``Engine.predict``; asks with either are not batched with others.
        asked: ``time.monotonic`` of the asking.
    """

    entities: Rows
    relations: Rows
    k: int
    exclude_known: bool
    exact: bool
    allow: Rows | None
    deny: Rows | None
    asked: float

    @property
    def key(self) -> Hashable:
        """Asks of equal keys can be answered by one call of the engine."""
        alone = self if self.allow is not None or self.deny is not None else None
        return self.exclude_known, self.exact, id(alone)

    def __len__(self) -> int:
        """B."""
        return len(self.entities)


@dataclass(frozen=True)
class Reply:
    """Answers to an ask, and the seconds that it waited in the queue."""

    answers: Answers
    queue_s: float


def answer_together(engine: Engine, asks: Sequence[Ask]) -> list[Reply]:
    """One call of the engine for asks of equal keys; each gets its own part."""
    start = monotonic()
    first = asks[0]
    answers = engine.answer(
        np.concatenate([ask.entities for ask in asks]) if len(asks) > 1 else first.entities,
        np.concatenate([ask.relations for ask in asks]) if len(asks) > 1 else first.relations,
        max(ask.k for ask in asks),
        exclude_known=first.exclude_known,
        allowed=first.allow,
        denied=first.deny,
        exact=first.exact,
    )
    if len(asks) == 1:
        return [Reply(answers, start - first.asked)]
    ends = np.cumsum([len(ask) for ask in asks]).tolist()
    return [
        Reply(answers.part(end - len(ask), end, ask.k), start - ask.asked)
        for ask, end in zip(asks, ends, strict=True)
    ]

"""Ranked answers as columns, and what a file format has to do with them.

Each shard of a job becomes a part of its own; the parts joined in order are the file. The same
records in the same parts always give the same bytes.

Shape letters: A answers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Names:
    """A column of strings, most of them there several times.

    Attributes:
        places: int64 [A], which of the strings each is.
        strings: equal ones among them are allowed.
    """

    places: NDArray[np.int64]
    strings: list[str]

    def texts(self) -> list[str]:
        """Return the column as A strings."""
        return list(map(self.strings.__getitem__, self.places.tolist()))


@dataclass(frozen=True)
class Records:
    """Answers as columns; the order of the attributes is that of the file.

    Attributes:
        query: int64 [A], number of the question, from 1.
        head, relation, tail: the question; ``?`` is what it asks for.
        rank: int64 [A], from 1.
        answer, label: id and label of the entity.
        score: float64 [A], the scorer's.
        prior: float64 [A], relation prior; answers are ranked by score + prior.
        probability: float64 [A]; NaN where the bundle has no calibration, empty in the file.
        exact: bool [A], whether the answers to the question are certainly the exhaustive ones.
        known: bool [A], whether the answer is a known fact.
        entity_id, relation_id: ids of the entity and the relation asked about, which the question
            may name by labels; not in tables.
        asks_head: bool [A], whether the answer is the head; not in tables.
    """

    query: NDArray[np.int64]
    head: Names
    relation: Names
    tail: Names
    rank: NDArray[np.int64]
    answer: Names
    label: Names
    score: NDArray[np.float64]
    prior: NDArray[np.float64]
    probability: NDArray[np.float64]
    exact: NDArray[np.bool_]
    known: NDArray[np.bool_]
    entity_id: Names
    relation_id: Names
    asks_head: NDArray[np.bool_]

    def __len__(self) -> int:
        """A."""
        return len(self.query)

    def facts(self) -> tuple[list[str], list[str], list[str]]:
        """Return ids of subject, predicate and object of the facts that the answers make."""
        given, answers = self.entity_id.texts(), self.answer.texts()
        asks = self.asks_head.tolist()
        subjects = [a if head else g for g, a, head in zip(given, answers, asks, strict=True)]
        objects = [g if head else a for g, a, head in zip(given, answers, asks, strict=True)]
        return subjects, self.relation_id.texts(), objects


COLUMNS = tuple(field.name for field in fields(Records))[:12]
"""Of tables, in their order."""
TYPES = {
    "query": "int64", "rank": "int64", "score": "float64", "prior": "float64",
    "probability": "float64", "exact": "bool", "known": "bool",
}  # fmt: skip
"""Arrow's names of the types; all others are strings."""


class Writer(Protocol):
    """A part while it is written."""

    def write(self, records: Records) -> None:
        """Append answers."""

    def close(self) -> None:
        """Finish the part."""


Join = Callable[[Path], None]
"""Appends a part; parts are joined in their order."""


class Format(Protocol):
    """How answers are kept."""

    def part(self, path: Path) -> Writer:
        """Begin a part."""

    def whole(self, target: Path) -> AbstractContextManager[Join]:
        """Begin the file that parts are joined to; it is whole at the end of the block."""

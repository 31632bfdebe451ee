"""What the engine answers: ranked rows for a batch, as compressed rows.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serving.engine.exclusions import Rows
from serving.engine.results import Found
from serving.engine.scoring import Array


@dataclass(slots=True)  # frozen ones take four times as long to make
class Answers:
    """Ranked answers to B queries; equal scores by ascending row.

    Attributes:
        offsets: int64 [B + 1]; query i's answers are ``offsets[i]`` to ``offsets[i + 1]``.
        rows: int32 [A], of entities (of relations from ``Engine.relations``).
        scores: float64 [A], falling within a query; finite.
        known: bool [A], whether the answer is a known fact; None where that was not looked up.
        exact: bool [B], whether the answers are certainly those of exhaustive scoring.
        fetched: int64 [B], how many candidates were scored in float64.
        candidates: int64 [B], how many answers there were before the threshold.
        seconds: where the time went: "encode", "search", "rescore".
    """

    offsets: Rows
    rows: NDArray[np.int32]
    scores: Array
    known: NDArray[np.bool_] | None
    exact: NDArray[np.bool_]
    fetched: Rows
    candidates: Rows
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Found, seconds: dict[str, float]) -> Answers:
        """What was found; known facts are not marked."""
        rows = found.rows.astype(np.int32)
        if len(found.counts) == 1:
            offsets = np.array([0, len(rows)])
        else:
            offsets = np.concatenate([[0], np.cumsum(found.counts)])
        exact, fetched = found.exact, found.fetched
        return cls(offsets, rows, found.scores, None, exact, fetched, found.counts, seconds)

    @classmethod
    def nothing(cls) -> Answers:
        """Answers to no query at all."""
        none, whole = np.zeros(0), np.zeros(0, np.int64)
        flags = np.zeros(0, bool)
        return cls(np.zeros(1, np.int64), whole.astype(np.int32), none, None, flags, whole, whole)

    def where(self, kept: NDArray[np.bool_]) -> Answers:
        """Only some of the answers, [A]; ``candidates`` still tells how many there were."""
        counts = np.bincount(self.owners[kept], minlength=len(self))
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(counts)]),
            rows=self.rows[kept],
            scores=self.scores[kept],
            known=None if self.known is None else self.known[kept],
        )

    def part(self, start: int, stop: int, k: int) -> Answers:
        """The first k answers to queries ``start`` to ``stop``."""
        first, last = self.offsets[start], self.offsets[stop]
        offsets = self.offsets[start : stop + 1] - first
        answers = replace(
            self,
            offsets=offsets,
            rows=self.rows[first:last],
            scores=self.scores[first:last],
            known=None if self.known is None else self.known[first:last],
            exact=self.exact[start:stop],
            fetched=self.fetched[start:stop],
            candidates=self.candidates[start:stop],
        )
        if not (np.diff(offsets) > k).any():
            return answers
        place = np.arange(last - first) - np.repeat(offsets[:-1], np.diff(offsets))
        answers = answers.where(place < k)
        return replace(answers, candidates=np.minimum(answers.candidates, k))

    def __len__(self) -> int:
        """B."""
        return len(self.exact)

    @property
    def counts(self) -> Rows:
        """Answers of each query, [B]."""
        counts: Rows = self.offsets[1:] - self.offsets[:-1]
        return counts

    @property
    def owners(self) -> Rows:
        """The query of each answer, [A]."""
        return np.repeat(np.arange(len(self)), self.counts)

"""What the engine answers: ranked rows for a batch, as compressed rows.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.candidates import Rows
from serving.retrieval import Found
from serving.scoring import Array


@dataclass(frozen=True)
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
        seconds: where the time went: "encode", and "search" with re-scoring.
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
    def of(
        cls, found: Found, threshold: float | None = None, seconds: dict[str, float] | None = None
    ) -> Answers:
        """What was found, down to a least score; known facts are not marked."""
        rows, scores, counts = found.rows, found.scores, found.counts
        if threshold is not None:
            kept = scores >= threshold
            counts = np.bincount(found.owners[kept], minlength=len(counts))
            rows, scores = rows[kept], scores[kept]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return cls(
            offsets,
            rows.astype(np.int32),
            scores,
            None,
            found.exact,
            found.fetched,
            found.counts,
            seconds or {},
        )

    def __len__(self) -> int:
        """B."""
        return len(self.exact)

    @property
    def counts(self) -> Rows:
        """Answers of each query, [B]."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> Rows:
        """The query of each answer, [A]."""
        return np.repeat(np.arange(len(self)), self.counts)

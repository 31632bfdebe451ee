"""Ranked rows for a batch, and how rows become ranked.

Shape letters: B queries, N candidates, n pairs of a query and a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.engine.exclusions import Rows
from serving.engine.scoring import Array


@dataclass
class Found:
    """Ranked rows for B queries, as compressed rows.

    Attributes:
        counts: int64 [B], how many rows each query has.
        rows: int64, best first, ties by ascending row; query after query.
        scores: float64, of each row.
        exact: bool [B], whether they are certainly those of exhaustive scoring.
        fetched: int64 [B], how many candidates were scored in float64.
        rescore_s: seconds that this took.
    """

    counts: Rows
    rows: Rows
    scores: Array
    exact: NDArray[np.bool_]
    fetched: Rows
    rescore_s: float = 0.0

    @property
    def owners(self) -> Rows:
        """The query of each row."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def last(self) -> Array:
        """The least score of each query that has any, [B]."""
        ends = np.maximum(np.cumsum(self.counts) - 1, 0)
        return self.scores[ends] if len(self.scores) else np.zeros(len(self.counts))

    @classmethod
    def join(cls, parts: list[Found]) -> Found:
        """Batches one after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.exact for part in parts]),
            np.concatenate([part.fetched for part in parts]),
            sum(part.rescore_s for part in parts),
        )


def top(rows: Rows, scores: Array, k: int) -> Found:
    """The best k of candidates [B, N] whose score is above minus infinity."""
    queries, size = scores.shape
    chosen = scores > -np.inf
    fetched = np.count_nonzero(chosen, axis=1)
    if k < size:
        chosen &= scores >= np.partition(scores, size - k, axis=1)[:, size - k, None]
    owners, places = np.nonzero(chosen)
    found = rank(owners, rows[owners, places], scores[owners, places], k, queries)
    found.fetched = fetched
    return found


def rank(owners: Rows, rows: Rows, scores: Array, k: int, queries: int) -> Found:
    """Order pairs by query, falling score and rising row, and keep k for each query."""
    if queries == 1:
        order = np.lexsort((rows, -scores))[:k]
        counts, fetched = np.array([len(order)]), np.array([len(rows)])
        return Found(counts, rows[order], scores[order], np.array([True]), fetched)
    order = _order(owners, rows, scores, queries)
    owners = owners[order]
    fetched = np.bincount(owners, minlength=queries)
    starts = np.cumsum(fetched) - fetched
    kept = np.arange(len(owners)) - starts[owners] < k
    order = order[kept]
    counts = np.minimum(fetched, k)
    return Found(counts, rows[order], scores[order], np.ones(queries, dtype=bool), fetched)


def _order(owners: Rows, rows: Rows, scores: Array, queries: int) -> Rows:
    """Pairs by query, falling score and rising row."""
    order = np.argsort(-scores)
    # A stable sort of narrow numbers is a radix sort, some times faster than lexsort.
    narrow = owners.astype(np.uint16 if queries <= 1 << 16 else np.int64)
    order = order[np.argsort(narrow[order], kind="stable")]
    ranked, owned = scores[order], owners[order]
    if ((ranked[1:] == ranked[:-1]) & (owned[1:] == owned[:-1])).any():
        order = np.lexsort((rows, -scores, owners))
    return order

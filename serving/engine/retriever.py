"""The best k rows for each query, in two ways that give the same answers to the last bit.

    by_candidates  an index names candidates (``candidates.py``); the certificate tells whether
                   anything it did not name could belong to the answer
    by_listing     every candidate scored: where few are allowed, or k is near their number

The first scores what was named in float64; and where that is not certain, and exactness was asked
for, it fetches everything that could still belong.

Shape letters: B queries, N candidates, n pairs of a query and a row.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from serving.engine.certificate import Certificate
from serving.engine.encoder import Query
from serving.engine.entity_table import EntityIndex
from serving.engine.exclusions import Excluded, Rows
from serving.engine.index.base import Candidates, View
from serving.engine.results import Found, rank, top
from serving.engine.scoring import Array, Scorer

_SCORED_PAIRS = 1 << 12
_LISTED_ROWS = 4096
_LISTED_PAIRS = 1 << 21
_FEW_PAIRS = 1 << 14


class Retriever:
    """Search over one entity table."""

    def __init__(
        self,
        index: EntityIndex,
        scorer: Scorer,
        certificate: Certificate,
        candidates: Candidates,
    ) -> None:
        """Put the parts together.

        Args:
            index: the table.
            scorer: products to scores.
            certificate: floors for this table.
            candidates: names rows of great product.
        """
        self._index, self._scorer = index, scorer
        self._certificate, self._candidates = certificate, candidates

    def best(
        self, query: Query, k: int, excluded: Excluded, allowed: Rows | None, *, exact: bool
    ) -> Found:
        """Ranked answers, the quickest way.

        Args:
            query: B queries.
            k: at least 1.
            excluded: what may not be an answer, for each query.
            allowed: ascending rows that may be answers to any of the queries; None for all.
            exact: do what it takes to certify each answer.
        """
        size = self._index.entities if allowed is None else len(allowed)
        narrows = self._candidates.narrows
        few = allowed is not None and (not narrows or len(query) * size <= _FEW_PAIRS)
        if few or 8 * k > size:
            return self.by_listing(query, k, excluded, allowed)
        return self.by_candidates(query, k, excluded, allowed, exact=exact)

    def by_candidates(
        self, query: Query, k: int, excluded: Excluded, allowed: Rows | None, *, exact: bool
    ) -> Found:
        """As many queries at a time as the index likes best."""
        step = self._candidates.queries
        if len(query) <= step:
            return self._find(query, k, excluded, allowed, exact=exact)
        parts = []
        for start in range(0, len(query), step):
            stop = min(start + step, len(query))
            part, barred = query.take(slice(start, stop)), excluded.take(start, stop)
            parts.append(self._find(part, k, barred, allowed, exact=exact))
        return Found.join(parts)

    def _find(
        self, query: Query, k: int, excluded: Excluded, allowed: Rows | None, *, exact: bool
    ) -> Found:
        view = self._candidates.look(query, excluded, allowed)
        owners, rows = view.fetch(k)
        start = perf_counter()
        found = rank(owners, rows, self._score_pairs(query, owners, rows), k, len(query))
        if not (view.is_top and self._scorer.is_monotone):
            found = self._certify(query, k, view, found, exact=exact)
        found.rescore_s = perf_counter() - start
        return found

    def _certify(self, query: Query, k: int, view: View, found: Found, *, exact: bool) -> Found:
        """Say which answers are certain; make the others so, if that is asked for."""
        unseen = view.unseen()
        floors = self._certificate.floors(query, found.last)
        floors[found.counts < k] = -np.inf
        found.exact = (unseen < floors) | (unseen == -np.inf)
        if exact and not found.exact.all():
            unsure = np.flatnonzero(~found.exact)
            return self._widen(query, k, view, floors[unsure], unsure, found)
        return found

    def _widen(
        self, query: Query, k: int, view: View, floors: Array, unsure: Rows, found: Found
    ) -> Found:
        """Fetch, for unsure queries, everything that could belong to their answers."""
        sure = found.exact[found.owners]
        owners, rows = view.reach(unsure, floors)
        scores = self._score_pairs(query, owners, rows)
        better = rank(
            np.concatenate([found.owners[sure], owners]),
            np.concatenate([found.rows[sure], rows]),
            np.concatenate([found.scores[sure], scores]),
            k,
            len(query),
        )
        better.fetched = np.where(found.exact, found.fetched, better.fetched)
        return better

    def _score_pairs(self, query: Query, owners: Rows, rows: Rows) -> Array:
        """Scores [n] of rows [n] for the queries that own them."""
        if len(query) == 1 and len(rows) <= _SCORED_PAIRS:
            alone: Array = self._scorer.scores(query, self._index.rows(rows[None, :]))[0]
            return alone
        scores = np.empty(len(rows))
        for start in range(0, len(rows), _SCORED_PAIRS):
            part = slice(start, start + _SCORED_PAIRS)
            table = self._index.rows(rows[part, None])
            scores[part] = self._scorer.scores(query.take(owners[part]), table)[:, 0]
        return scores

    def by_listing(self, query: Query, k: int, excluded: Excluded, allowed: Rows | None) -> Found:
        """Score every candidate."""
        every = np.arange(self._index.entities) if allowed is None else allowed
        step = max(1, _LISTED_PAIRS // max(1, len(every)))
        parts = []
        for start in range(0, len(query), step):
            stop = min(start + step, len(query))
            scores = self.scores(query.take(slice(start, stop)), allowed)
            owners, places = excluded.take(start, stop).within(allowed)
            scores[owners, places] = -np.inf
            parts.append(top(np.broadcast_to(every, scores.shape), scores, k))
        return Found.join(parts)

    def scores(self, query: Query, rows: Rows | None = None) -> Array:
        """Scores [B, N] of ``rows`` [N], or of all entities."""
        size = self._index.entities if rows is None else len(rows)
        scores = np.empty((len(query), size))
        for start in range(0, size, _LISTED_ROWS):
            stop = min(start + _LISTED_ROWS, size)
            wanted = np.arange(start, stop) if rows is None else rows[start:stop]
            scores[:, start:stop] = self._scorer.scores(query, self._index.rows(wanted[None, :]))
        return scores

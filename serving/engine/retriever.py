"""The best k rows for each query, certified to be those of exhaustive float64 scoring.

An index returns candidates; they are scored in float64. Let s be the k-th best score among them. If
no other row can reach s, the answer is the exhaustive one. ``safe_floors`` turns s into the exact
product that a row would need, and the index knows a product that no other row exceeds
(``Candidates.unseen``); so the answer is certified when that is below the floor. Where it is not,
and exactness is asked for, every row at or above the floor is fetched, which always certifies.

Where few rows are allowed, or k is near their number, all of them are scored instead. Either way
the same pair has the same bits, so both give the same answer.

Memory: a step holds at most 131,072 pairs, or those of one query.

Shape letters: B queries, E entities, K candidates, W width, n pairs of a query and a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from time import perf_counter

import numpy as np

from mulde.bundle.table.entity_table import Layout
from mulde.typing import Float64, Floats, Rows
from serving.engine.entity_table import EntityTable
from serving.engine.index.base import Asked, CandidateIndex, Candidates, Search
from serving.engine.results import Results, rank_pairs, rank_table
from serving.engine.scoring import ProductScorer, Query, priors_of, safe_floors

_STEP_PAIRS = 1 << 17
_SCORED_PAIRS = 1 << 12
_SCORED_ROWS = 1 << 12
_FEW_ROWS = 1 << 10


class Retriever:
    """Search over one entity table."""

    def __init__(
        self,
        table: EntityTable,
        scorer: ProductScorer,
        row_norm: float,
        index: CandidateIndex,
        layout: Layout | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            table: the rows.
            scorer: products to scores.
            row_norm: the largest Euclidean norm of a row.
            index: returns candidates.
            layout: of the table, whose relation priors are a part of the scores; None for none.
        """
        self._table, self.scorer, self._row_norm = table, scorer, row_norm
        self._index = index
        self._layout = layout if layout is not None and layout.prior_count else None

    def search(self, asked: Asked, wanted: Search) -> Results:
        """Return the k best rows of each query, the quicker way.

        ``scores`` are what rows are ranked by; ``priors`` say how much of each is a relation prior.
        """
        start = perf_counter()
        scores_all = self._scores_all(wanted)
        results = (self.by_scoring_all if scores_all else self.by_index)(asked, wanted)
        rescore = results.seconds.get("rescore", 0.0)
        results.seconds = {"search": perf_counter() - start - rescore, "rescore": rescore}
        return results

    def _scores_all(self, wanted: Search) -> bool:
        allowed, denied = wanted.allowed, len(wanted.excluded.everywhere)
        size = self._table.entities if allowed is None else len(allowed)
        fetched = wanted.k if self._index.narrows else wanted.k + denied
        if 8 * wanted.k > size - denied or 8 * fetched > size:
            return True
        return allowed is not None and (not self._index.narrows or size <= _FEW_ROWS)

    def by_scoring_all(self, asked: Asked, wanted: Search) -> Results:
        """Score every row that is allowed."""
        allowed, query = wanted.allowed, asked.encoded()
        every = np.arange(self._table.entities) if allowed is None else allowed
        step, parts = max(1, _STEP_PAIRS // max(1, len(every))), []
        for start in range(0, len(query), step):
            wanted.check()
            stop = min(start + step, len(query))
            part = query.take(slice(start, stop))
            scores = self.scores(part, every)
            scores[wanted.excluded.take(start, stop).within(every)] = -np.inf
            results = rank_table(every, scores, wanted.k)
            results.priors = self.priors(part, results.owners, self._table.rows(results.rows))
            parts.append(results)
        return Results.join(parts)

    def by_index(self, asked: Asked, wanted: Search) -> Results:
        """Score the candidates of the index, and certify the answers."""
        parts = []
        candidates = self._index.nearest(asked, wanted.k, wanted.excluded, wanted.allowed)
        for found in _grouped(candidates):
            wanted.check()
            start = perf_counter()
            results = self._ranked(wanted.k, found)
            if not (self._index.is_top and self.scorer.is_monotone):
                results = self._certified(found, wanted, results)
            results.seconds = {"rescore": perf_counter() - start}
            parts.append(results)
        return Results.join(parts)

    def _ranked(self, k: int, found: Candidates) -> Results:
        """Score candidates and keep the best."""
        query, owners, rows = found.query, found.owners, found.rows
        starts = range(0, max(1, len(rows)), _SCORED_PAIRS)
        slices = (slice(start, start + _SCORED_PAIRS) for start in starts)
        parts = [self._scored(query, owners[part], rows[part]) for part in slices]
        if len(parts) == 1:
            scores, priors = parts[0]
        else:
            scores, priors = (np.concatenate(column) for column in zip(*parts, strict=True))
        with_priors = None if self._layout is None else priors
        return rank_pairs(owners, rows, scores, k, len(query), with_priors)

    def _scored(self, query: Query, owners: Rows, rows: Rows) -> tuple[Float64, Float64]:
        """Return scores [n] of pairs, and relation priors [n], which are 0 without any."""
        table = self._table.rows(rows).astype(np.float64)
        scores = self.scorer.of_pairs(query, owners, table)
        if self._layout is None:
            return scores, np.zeros(len(rows))
        return scores, priors_of(query, owners, table, self._layout)

    def priors(self, query: Query, owners: Rows, rows: Floats) -> Float64 | None:
        """Return relation priors [n] of rows [n, W] for their queries; None without any."""
        if self._layout is None:
            return None
        return priors_of(query, owners, rows.astype(np.float64), self._layout)

    def _certified(self, found: Candidates, wanted: Search, results: Results) -> Results:
        """Say which results are certified; where ``exact``, fetch what the others need."""
        query, unseen = found.query, found.unseen()
        floors = safe_floors(self.scorer, query, _last(results), self._row_norm)
        floors[results.counts < wanted.k] = -np.inf
        results.exact = (unseen < floors) | (unseen == -np.inf)
        if not wanted.exact or results.exact.all():
            return results
        unsure = np.flatnonzero(~results.exact)
        excluded = wanted.excluded.take(found.start, found.start + len(query)).pick(unsure)
        above = self._index.above(query.take(unsure), floors[unsure], excluded, wanted.allowed)
        parts = []
        for more in _grouped(above):
            wanted.check()
            parts.append(self._ranked(wanted.k, more))
        return _replaced(results, unsure, Results.join(parts), wanted.k)

    def scores(self, query: Query, rows: Rows | None = None) -> Float64:
        """Return scores [B, K] of ``rows`` [K], or of all entities."""
        every = np.arange(self._table.entities) if rows is None else rows
        scores = np.empty((len(query), len(every)))
        for start in range(0, len(every), _SCORED_ROWS):
            part = slice(start, start + _SCORED_ROWS)
            table = self._table.rows(every[None, part])
            scores[:, part] = self.scorer.scores(query, table)
        return scores


def _grouped(parts: Iterable[Candidates]) -> Iterator[Candidates]:
    """Join parts that follow each other, up to 131,072 pairs."""
    group: list[Candidates] = []
    pairs = 0
    for part in parts:
        if group and pairs + len(part.rows) > _STEP_PAIRS:
            yield _one(group)
            group, pairs = [], 0
        group.append(part)
        pairs += len(part.rows)
    if group:
        yield _one(group)


def _one(group: list[Candidates]) -> Candidates:
    if len(group) == 1:
        return group[0]
    sizes = np.cumsum([0, *(len(part.query) for part in group[:-1])]).tolist()
    owners = [part.owners + before for part, before in zip(group, sizes, strict=True)]
    return Candidates(
        group[0].start,
        Query.join([part.query for part in group]),
        np.concatenate(owners),
        np.concatenate([part.rows for part in group]),
        partial(_unseen, group),
    )


def _unseen(group: list[Candidates]) -> Float64:
    return np.concatenate([part.unseen() for part in group])


def _last(results: Results) -> Float64:
    """Return the least score of each query that has any, [B]."""
    if not len(results.scores):
        return np.zeros(len(results))
    return results.scores[np.maximum(results.offsets[1:] - 1, 0)]


def _replaced(results: Results, queries: Rows, better: Results, k: int) -> Results:
    """Return results with those of some queries replaced."""
    sure = results.exact[results.owners]
    owners = np.concatenate([results.owners[sure], queries[better.owners]])
    rows = np.concatenate([results.rows[sure], better.rows])
    scores = np.concatenate([results.scores[sure], better.scores])
    priors, order = None, owners.argsort(kind="stable")
    if results.priors is not None and better.priors is not None:
        priors = np.concatenate([results.priors[sure], better.priors])[order]
    merged = rank_pairs(owners[order], rows[order], scores[order], k, len(results), priors)
    merged.fetched = results.fetched
    merged.fetched[queries] = better.fetched
    return merged

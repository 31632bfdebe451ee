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

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np

from mulde.typing import Float64, Floats, Ints, Rows
from serving.engine.exclusions import Exclusions
from serving.engine.index.base import CandidateIndex, Candidates
from serving.engine.results import Results, rank_pairs, rank_table
from serving.engine.scoring import Query, Scorer, safe_floors

_STEP_PAIRS = 1 << 17
_SCORED_PAIRS = 1 << 12
_SCORED_ROWS = 1 << 12
_FEW_ROWS = 1 << 10

Check = Callable[[], None]
"""Called between two steps; what it raises ends the work."""


class Table(Protocol):
    """The rows that are scored (``EntityTable``)."""

    entities: int

    def rows(self, rows: Ints) -> Floats:
        """Return rows of the table, [..., W] for ``rows`` [...]."""


def no_check() -> None:
    """Go on."""


class Search(NamedTuple):
    """What is wanted of a batch of B queries.

    Attributes:
        k: answers to each, at least 1.
        excluded: rows that are no answers.
        allowed: ascending rows, the only ones that are answers; None for all.
        exact: certify each answer, whatever that takes.
        check: called between two steps; what it raises ends the work.
    """

    k: int
    excluded: Exclusions
    allowed: Rows | None = None
    exact: bool = True
    check: Check = no_check

    def take(self, start: int, stop: int) -> Search:
        """Return what is wanted of queries ``start`` to ``stop``."""
        return self._replace(excluded=self.excluded.take(start, stop))


class Retriever:
    """Search over one entity table."""

    def __init__(self, table: Table, scorer: Scorer, row_norm: float, index: CandidateIndex):
        """Put the parts together.

        Args:
            table: the rows.
            scorer: products to scores.
            row_norm: the largest Euclidean norm of a row.
            index: returns candidates.
        """
        self._table, self.scorer, self._row_norm = table, scorer, row_norm
        self._index = index

    def search(self, query: Query, wanted: Search) -> Results:
        """Return the k best rows of each query, the quicker way."""
        start = perf_counter()
        scores_all = self._scores_all(wanted)
        results = (self.by_scoring_all if scores_all else self.by_index)(query, wanted)
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

    def by_scoring_all(self, query: Query, wanted: Search) -> Results:
        """Score every row that is allowed."""
        allowed = wanted.allowed
        every = np.arange(self._table.entities) if allowed is None else allowed
        step, parts = max(1, _STEP_PAIRS // max(1, len(every))), []
        for start in range(0, len(query), step):
            wanted.check()
            stop = min(start + step, len(query))
            scores = self.scores(query.take(slice(start, stop)), every)
            scores[wanted.excluded.take(start, stop).within(every)] = -np.inf
            parts.append(rank_table(every, scores, wanted.k))
        return Results.join(parts)

    def by_index(self, query: Query, wanted: Search) -> Results:
        """Score the candidates of the index, and certify the answers."""
        parts = []
        candidates = self._index.nearest(query, wanted.k, wanted.excluded, wanted.allowed)
        for found in _grouped(candidates):
            wanted.check()
            part = query.take(slice(found.start, found.stop))
            start = perf_counter()
            results = self._ranked(part, wanted.k, found)
            if not (self._index.is_top and self.scorer.is_monotone):
                mine = wanted.take(found.start, found.stop)
                results = self._certified(part, mine, results, found.unseen())
            results.seconds = {"rescore": perf_counter() - start}
            parts.append(results)
        return Results.join(parts)

    def _ranked(self, query: Query, k: int, found: Candidates) -> Results:
        owners = found.owners - found.start
        scores = self._score_pairs(query, owners, found.rows)
        return rank_pairs(owners, found.rows, scores, k, len(query))

    def _certified(
        self, query: Query, wanted: Search, results: Results, unseen: Float64
    ) -> Results:
        """Say which results are certified; where ``exact``, fetch what the others need."""
        floors = safe_floors(self.scorer, query, _last(results), self._row_norm)
        floors[results.counts < wanted.k] = -np.inf
        results.exact = (unseen < floors) | (unseen == -np.inf)
        if not wanted.exact or results.exact.all():
            return results
        unsure = np.flatnonzero(~results.exact)
        better = self._above(query.take(unsure), wanted, unsure, floors[unsure])
        return _replaced(results, unsure, better, wanted.k)

    def _above(self, query: Query, wanted: Search, queries: Rows, floors: Float64) -> Results:
        """Rank every row at or above a floor, for some queries of a batch."""
        excluded, parts = wanted.excluded.pick(queries), []
        for found in _grouped(self._index.above(query, floors, excluded, wanted.allowed)):
            wanted.check()
            part = query.take(slice(found.start, found.stop))
            parts.append(self._ranked(part, wanted.k, found))
        return Results.join(parts)

    def _score_pairs(self, query: Query, owners: Rows, rows: Rows) -> Float64:
        """Return scores [n] of rows [n] for the queries that own them."""
        scores = np.empty(len(rows))
        for start in range(0, len(rows), _SCORED_PAIRS):
            part = slice(start, start + _SCORED_PAIRS)
            table = self._table.rows(rows[part, None])
            scores[part] = self.scorer.scores(query.take(owners[part]), table)[:, 0]
        return scores

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
    owners = np.concatenate([part.owners for part in group])
    rows = np.concatenate([part.rows for part in group])
    return Candidates(group[0].start, group[-1].stop, owners, rows, partial(_unseen, group))


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
    order = owners.argsort(kind="stable")
    merged = rank_pairs(owners[order], rows[order], scores[order], k, len(results))
    merged.fetched = results.fetched
    merged.fetched[queries] = better.fetched
    return merged

"""The engine: rows in, ranked answers out. It knows no network and no names.

Entities and relations are rows of the bundle's vocabulary; relations R..2R-1 are the reciprocals
of 0..R-1, so that (?, r, t) is the query (t, r + R).

Every call works on a few queries at a time, so that it takes little memory besides its results,
whatever it asks; ``check`` is called in between, and what it raises ends the work.

Shape letters: B queries, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike

from mulde.errors import BundleError, InvalidArgument
from mulde.typing import Float64, Rows
from serving.engine.index.base import Check, Exclusions, Search, no_check
from serving.engine.results import Results, rank_table
from serving.engine.triples import STEP_TRIPLES, TripleScorer, row_numbers, same_length, slices

_STEP_QUERIES = 256
_STEP_ANSWERS = 1 << 14
_NO_ROWS = np.zeros(0, np.int64)


class Engine(TripleScorer):
    """One bundle, ready to answer. Threads may share it."""

    def predict(
        self,
        entities: ArrayLike,
        relations: ArrayLike,
        k: int,
        *,
        exclude_known: bool = False,
        use_priors: bool | None = None,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
        threshold: float | None = None,
        exact: bool = True,
        check: Check = no_check,
    ) -> Results:
        """Return the k best answers to each query (entity, relation, ?).

        The entity itself is left out where the relation has no self-loops.

        Args:
            entities: [B] rows.
            relations: [B] rows in [0, 2R).
            k: 1 to E.
            exclude_known: leave out known facts; without effect where the bundle has none.
            use_priors: rank by score + relation prior, as new facts; by the score alone if False.
                None: as ``exclude_known``.
            allow: rows that may be answers; None for all.
            deny: rows that may not.
            threshold: least score of an answer.
            exact: certify each answer, whatever that takes; without it, ``Results.exact`` says
                which answers were certified anyway.
            check: called between steps.

        Raises:
            InvalidArgument: naming the argument.
        """
        _check_k(k, self.num_entities, "entities")
        rows, asked = self._pairs("entities", entities, relations)
        priors = exclude_known if use_priors is None else use_priors
        allowed, denied = self._allowed(allow), self._denied(deny)
        parts = []
        for step in _steps(len(rows), k):
            check()
            questions = self._questions(rows[step], asked[step], priors=priors)
            excluded = self._excluded(rows[step], asked[step], exclude_known, denied)
            wanted = Search(k, excluded, allowed, exact, check)
            results = self.amendments.search(self.loaded.retriever, questions, wanted)
            self._complete(results, rows[step], asked[step], mark=not exclude_known)
            parts.append(results)
        results = Results.join(parts)
        return results if threshold is None else results.where(results.scores >= threshold)

    def _excluded(self, entities: Rows, relations: Rows, known: bool, denied: Rows) -> Exclusions:
        """Return known facts, where asked for, self-loops and denied rows."""
        loops = self._loopless[relations].nonzero()[0]
        owners, rows = loops, entities[loops]
        if known and self.amendments.known is not None:
            offsets, facts = self.amendments.known.of_many(entities, relations)
            facts_of = np.arange(len(entities)).repeat(offsets[1:] - offsets[:-1])
            owners, rows = np.concatenate([facts_of, owners]), np.concatenate([facts, rows])
        excluded = Exclusions.of_pairs(owners, rows, len(entities))
        excluded.everywhere = denied
        return excluded

    def _complete(self, results: Results, entities: Rows, relations: Rows, *, mark: bool) -> None:
        """Split totals into scores and priors, and mark self-loops and known facts."""
        self._check_finite(results.scores)
        if results.priors is not None:
            results.scores = results.scores - results.priors
        results.self_loop_excluded = self._loopless[relations]
        if mark and self.amendments.known is not None:
            marks = self.amendments.known.marks(entities, relations, results.offsets, results.rows)
            results.known = marks

    def _check_finite(self, scores: Float64) -> None:
        # One call instead of two: a score is far below the root of the largest number.
        if not isfinite(scores @ scores):
            raise BundleError(self.bundle.path, "a score is not finite")

    def similar(
        self,
        entities: ArrayLike,
        k: int,
        *,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
        check: Check = no_check,
    ) -> Results:
        """Return the k nearest other entities of each entity [B]; the score is minus the distance.

        Args:
            entities: [B] rows.
            k: at least 1.
            allow: rows that may be answers; None for all.
            deny: rows that may not.
            check: called between steps.
        """
        rows = row_numbers("entities", entities, self.num_rows)
        allowed, denied = self._allowed(allow), self._denied(deny)
        parts = []
        for step in _steps(len(rows), k):
            check()
            own = rows[step]
            query = self.loaded.neighbour_scorer.queries(self.answer_rows(own))
            excluded = Exclusions(len(own), np.arange(len(own)), own, denied)
            wanted = Search(k, excluded, allowed, check=check)
            parts.append(self.amendments.search(self.loaded.neighbours, query, wanted))
        results = Results.join(parts)
        self._check_finite(results.scores)
        return results

    def relations(
        self,
        heads: ArrayLike,
        tails: ArrayLike,
        k: int,
        *,
        exclude_known: bool = False,
        check: Check = no_check,
    ) -> Results:
        """Return the k relations, 0..R-1, that fit best between heads [B] and tails [B].

        A relation's score is the mean of the triple's scores in both directions. Every relation is
        scored, so every answer is exact.
        """
        _check_k(k, self.num_relations, "relations")
        head = row_numbers("heads", heads, self.num_rows)
        tail = row_numbers("tails", tails, self.num_rows)
        same_length("tails", len(tail), "heads", len(head))
        start = perf_counter()
        parts = []
        for step in slices(len(head), STEP_TRIPLES // self.num_relations):
            check()
            parts.append(self._relations(head[step], tail[step], k, exclude_known))
        return replace(Results.join(parts), seconds={"search": perf_counter() - start})

    def _relations(self, heads: Rows, tails: Rows, k: int, exclude_known: bool) -> Results:
        count, shape = self.num_relations, (len(heads), self.num_relations)
        every = np.arange(count)
        triples = heads.repeat(count), np.tile(every, len(heads)), tails.repeat(count)
        scores = np.mean(self.triple_scores(*triples), axis=0)
        self._check_finite(scores)
        loops = self.self_loops(*triples)
        scores[loops] = -np.inf
        known = None if self.amendments.known is None else self.amendments.known.contains(*triples)
        if exclude_known and known is not None:
            scores[known] = -np.inf
        results = rank_table(every, scores.reshape(shape), k)
        results.self_loop_excluded = np.logical_or.reduce(loops.reshape(shape), axis=1)
        if known is not None and not exclude_known:
            results.known = known.reshape(shape)[results.owners, results.rows]
        return results

    def _allowed(self, allow: ArrayLike | None) -> Rows | None:
        """Return distinct ascending rows."""
        if allow is None:
            return None
        rows = row_numbers("allow", allow, self.num_rows, least=0)
        return rows if (rows[1:] > rows[:-1]).all() else np.unique(rows)

    def _denied(self, deny: ArrayLike | None) -> Rows:
        return _NO_ROWS if deny is None else row_numbers("deny", deny, self.num_rows, least=0)


def _check_k(k: int, most: int, of: str) -> None:
    if not 1 <= k <= most:
        raise InvalidArgument("k", f"1 to {most}, the number of {of}", k)


def _steps(queries: int, k: int) -> Iterator[slice]:
    """Return the steps of a batch with k answers to each query."""
    return slices(queries, min(_STEP_QUERIES, _STEP_ANSWERS // k))

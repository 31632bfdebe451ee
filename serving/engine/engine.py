"""The engine: rows in, ranked answers out. It knows no network and no names.

Entities and relations are rows of the bundle's vocabulary; relations R..2R-1 are the reciprocals
of 0..R-1, so that (?, r, t) is the query (t, r + R).

Every call works on a few queries at a time, so that it takes little memory besides its results,
whatever it asks; ``check`` is called in between, and what it raises ends the work.

Shape letters: B queries, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from mulde.bundle.bundle import Bundle, open_bundle
from mulde.errors import BundleError, InvalidArgument
from mulde.evaluation.ranking import filtered_ranks
from mulde.evaluation.self_loops import lower
from mulde.typing import Float64, Floats, Ints, Mask, Offsets, Rows
from serving.engine.index.base import Exclusions
from serving.engine.loading import LoadedModel
from serving.engine.overlay import Amendments, Overlay
from serving.engine.results import Results, rank_table
from serving.engine.retriever import Check, Search, no_check
from serving.engine.scoring import HeadQueries, Query
from serving.engine.validation import row_numbers, same_length

_STEP_QUERIES = 256
_STEP_ANSWERS = 1 << 14
_STEP_TRIPLES = 1 << 13
_STEP_SCORES = 1 << 19

Known = tuple[Offsets, Ints]
"""Known answers of queries: offsets [B + 1] and rows."""


class Engine:
    """One bundle, ready to answer. Threads may share it."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, low_memory: bool = False) -> None:
        """Load an opened bundle.

        Args:
            bundle: verified and mapped.
            threads: for one batch in the encoder and the index.
            low_memory: search what is mapped, without a copy of the table in bytes.

        Raises:
            BundleError: if a file is not what the manifest says, or the encoder's answers break
                the rules of docs/explanation/bundle-format.md.
        """
        self.bundle, self.manifest = bundle, bundle.manifest
        self.num_entities, self.num_relations = self.manifest.entities, self.manifest.relations
        self.loaded = LoadedModel(bundle, threads=threads, low_memory=low_memory)
        layout, self._loopless = self.manifest.layout, self.manifest.loopless
        none = Overlay.none(self.num_entities, layout.width)
        self.amendments = Amendments(bundle.known, none)
        bundle.check_same()

    @classmethod
    def open(cls, bundle: Bundle | Path | str, *, threads: int = 1) -> Engine:
        """Load a bundle, opening it first where a path is given.

        Raises:
            BundleError: if it is missing, damaged, foreign or does not match its model.
        """
        if not isinstance(bundle, Bundle):
            bundle = open_bundle(Path(bundle))
        return cls(bundle, threads=threads)

    def amended(self, amendments: Amendments) -> Engine:
        """Return an engine over the same bundle with other changes since the training."""
        engine = copy(self)
        engine.amendments = amendments
        return engine

    @property
    def num_rows(self) -> int:
        """Entities of the table and of the overlay."""
        return self.amendments.overlay.stop

    def answer_rows(self, entities: Rows) -> Floats:
        """Return rows [..., W] of entities [...] as candidates, those of the overlay too."""
        return self.amendments.answer_rows(self.loaded.table, entities)

    def __enter__(self) -> Self:
        """Return the engine."""
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left open: the maps go with the last answer that refers to them."""

    def encode(self, entities: ArrayLike, relations: ArrayLike, *, priors: bool = True) -> Query:
        """Return queries for entities [B] and relations [B] in [0, 2R).

        Without ``priors``, relation priors have no weight in them.

        Raises:
            InvalidArgument: for rows outside the vocabulary or different lengths.
        """
        return self._encode(*self._pairs("entities", entities, relations), priors=priors)

    def _encode(self, entities: Rows, relations: Rows, *, priors: bool) -> Query:
        return self._questions(entities, relations, priors=priors).encoded()

    def _questions(self, entities: Rows, relations: Rows, *, priors: bool) -> HeadQueries:
        heads = self.amendments.overlay.query_rows(self.loaded.table, entities)
        return self.loaded.questions(heads, relations, priors=priors)

    def _pairs(self, field: str, entities: ArrayLike, relations: ArrayLike) -> tuple[Rows, Rows]:
        rows = row_numbers(field, entities, self.num_rows)
        asked = row_numbers("relations", relations, 2 * self.num_relations)
        same_length("relations", len(asked), field, len(rows))
        return rows, asked

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
            facts_of = np.repeat(np.arange(len(entities)), np.diff(offsets))
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
        for step in _slices(len(head), _STEP_TRIPLES // self.num_relations):
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

    def scores(
        self, entities: ArrayLike, relations: ArrayLike, *, use_priors: bool = True
    ) -> Float64:
        """Return scores [B, E + O] of every entity as an answer to each query.

        Args:
            entities: [B] rows.
            relations: [B] rows in [0, 2R).
            use_priors: score + relation prior, and self-loops last (``self_loops.lower``), as new
                facts are ranked; False: the scorer's score alone.
        """
        return self._scores(*self._pairs("entities", entities, relations), use_priors)

    def _scores(self, entities: Rows, relations: Rows, use_priors: bool) -> Float64:
        query = self._encode(entities, relations, priors=use_priors)
        scores = self.amendments.scores(self.loaded.retriever, query)
        if use_priors:
            lower(scores, entities, relations, self._loopless)
        return scores

    def score(self, heads: ArrayLike, relations: ArrayLike, tails: ArrayLike) -> Float64:
        """Return the scorer's scores [B] of tails as answers to (head, relation, ?), R in [0, 2R).

        Without relation priors, and whether the triple is a self-loop or not.
        """
        rows, asked = self._pairs("heads", heads, relations)
        wanted = row_numbers("tails", tails, self.num_rows)
        same_length("tails", len(wanted), "heads", len(rows))
        scores = np.empty(len(rows))
        for step in _slices(len(rows), _STEP_TRIPLES):
            query = self._encode(rows[step], asked[step], priors=False)
            table = self.answer_rows(wanted[step, None])
            scores[step] = self.loaded.scorer.scores(query, table)[:, 0]
        return scores

    def triple_scores(
        self, heads: ArrayLike, relations: ArrayLike, tails: ArrayLike
    ) -> tuple[Float64, Float64]:
        """Return scores [B] of tails and [B] of heads, each as answer to the rest; R in [0, R)."""
        forward = row_numbers("relations", relations, self.num_relations)
        backward = forward + self.num_relations
        return self.score(heads, forward, tails), self.score(tails, backward, heads)

    def self_loops(self, heads: Rows, relations: Rows, tails: Rows) -> Mask:
        """Return which triples [B] are self-loops of a relation that has none."""
        loops: Mask = (heads == tails) & self._loopless[relations]
        return loops

    def ranks(
        self,
        entities: ArrayLike,
        relations: ArrayLike,
        targets: ArrayLike,
        known: Known | None = None,
        *,
        use_priors: bool = True,
        check: Check = no_check,
    ) -> Float64:
        """Return filtered ranks [B] of targets [B] as answers to (entity, relation, ?).

        Args:
            entities: [B] rows.
            relations: [B] rows in [0, 2R).
            targets: [B] rows.
            known: known answers; by default the bundle's, and none where it has none.
            use_priors: see ``scores``.
            check: called between steps.
        """
        rows, asked = self._pairs("entities", entities, relations)
        wanted = row_numbers("targets", targets, self.num_rows)
        offsets, facts = self._known(rows, asked) if known is None else known
        ranks = np.empty(len(rows))
        for step in _slices(len(rows), _STEP_SCORES // self.num_entities):
            check()
            scores = self._scores(rows[step], asked[step], use_priors)
            bounds = offsets[step.start : step.stop + 1]
            others = facts[bounds[0] : bounds[-1]]
            self._score_targets(scores, rows[step], asked[step], wanted[step])
            ranks[step] = filtered_ranks(scores, wanted[step], bounds - bounds[0], others)
        return ranks

    def _score_targets(
        self, scores: Float64, entities: Rows, relations: Rows, targets: Rows
    ) -> None:
        """Fill in the scores of targets that are no candidates for other queries."""
        which = np.flatnonzero(targets >= self.num_entities)
        if len(which):
            query = self._encode(entities[which], relations[which], priors=False)
            table = self.answer_rows(targets[which, None])
            scores[which, targets[which]] = self.loaded.scorer.scores(query, table)[:, 0]

    def _known(self, entities: Rows, relations: Rows) -> Known:
        if self.amendments.known is None:
            return np.zeros(len(entities) + 1, np.int64), np.zeros(0, np.int64)
        return self.amendments.known.of_many(entities, relations)

    def _allowed(self, allow: ArrayLike | None) -> Rows | None:
        """Return distinct ascending rows."""
        if allow is None:
            return None
        rows = row_numbers("allow", allow, self.num_rows, least=0)
        return rows if (rows[1:] > rows[:-1]).all() else np.unique(rows)

    def _denied(self, deny: ArrayLike | None) -> Rows:
        return row_numbers("deny", [] if deny is None else deny, self.num_rows, least=0)


def _check_k(k: int, most: int, of: str) -> None:
    if not 1 <= k <= most:
        raise InvalidArgument("k", f"1 to {most}, the number of {of}", k)


def _steps(queries: int, k: int) -> Iterator[slice]:
    """Return the steps of a batch with k answers to each query."""
    return _slices(queries, min(_STEP_QUERIES, _STEP_ANSWERS // k))


def _slices(count: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))

"""The engine: rows in, ranked answers out. It knows no network and no names.

Entities and relations are rows of the bundle's vocabulary; relations R..2R-1 are the reciprocals
of 0..R-1, so that (?, r, t) is the query (t, r + R).

Shape letters: B queries, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mulde.bundle.bounds import Measures
from mulde.bundle.bundle import ENCODER, ENTITIES, Bundle, open_bundle
from mulde.bundle.files import CANDIDATES
from mulde.bundle.manifest import Index
from mulde.errors import BundleError, InvalidArgument
from mulde.evaluation.ranking import filtered_ranks
from mulde.evaluation.self_loops import LOOP, lower
from serving.engine.answers import Answers
from serving.engine.certificate import Certificate
from serving.engine.checks.bundle import check_queries
from serving.engine.encoder import Encoder, Query
from serving.engine.entity_table import EntityIndex, use_threads
from serving.engine.exclusions import Excluded, Rows
from serving.engine.index.base import Candidates
from serving.engine.index.bounds import Claims, extent_of, with_margin
from serving.engine.index.factory import candidates_for, column_weights
from serving.engine.index.faiss_lists import WholeTable
from serving.engine.index.ivf import Cells
from serving.engine.neighbours import Neighbours
from serving.engine.results import top
from serving.engine.retriever import Retriever
from serving.engine.scoring import Array, scorer_for
from serving.engine.validation import row_numbers, same_length

_RANKED_PAIRS = 1 << 21
_PROBES = 64


class Engine:
    """One bundle, ready to answer. Threads may share it."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, low_memory: bool = False) -> None:
        """Load an opened bundle.

        Args:
            bundle: verified and mapped.
            threads: for one batch in the encoder and the index.
            low_memory: search what is mapped, without a copy of the table in bytes, and answer
                few queries at a time.

        Raises:
            BundleError: if a file is not what the manifest says, or the encoder's answers break
                the rules of docs/explanation/architecture.md.
        """
        use_threads(threads)
        self.bundle, self.manifest = bundle, bundle.manifest
        self.num_entities, self.num_relations = self.manifest.entities, self.manifest.relations
        layout = self.manifest.layout
        # The table first: its file's size shows that the manifest's numbers can be believed.
        self._index = EntityIndex(bundle.file(ENTITIES), self.num_entities, layout.width)
        path = bundle.file(ENCODER)
        self._encoder = Encoder(path, layout.width, threads=threads, low_memory=low_memory)
        claims = Claims.of(bundle)
        extent = extent_of(self._index, layout, claims)
        self._scorer = scorer_for(self.manifest.score, layout, extent.tail_bias)
        weights = column_weights(self._probe(), layout)
        self._loopless = self.manifest.loopless
        self._leaves_out = bool(self._loopless.any())
        self._parts = layout, extent, weights, threads
        index = self.manifest.index
        if low_memory and index.kind != "ivf":
            index = Index("table")
        candidates = self._candidates(index, bundle.path / CANDIDATES, claims)
        self._retriever = self._retriever_of(candidates)
        curvature = self.manifest.score.curvature
        self._neighbours = Neighbours(self._index, layout, curvature, extent.row_norm, candidates)
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

    def __enter__(self) -> Self:
        """The engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left open: the maps go when the last answer that refers to them goes."""

    def _candidates(self, index: Index, codes: Path, claims: Claims | None = None) -> Candidates:
        return candidates_for(index, codes, self._index, *self._parts, claims)

    def _retriever_of(self, candidates: Candidates) -> Retriever:
        certificate = Certificate(self._scorer, self._parts[1].row_norm)
        return Retriever(self._index, self._scorer, certificate, candidates)

    @property
    def table(self) -> EntityIndex:
        """The entity table."""
        return self._index

    @property
    def column_weights(self) -> NDArray[np.float64]:
        """How much each column of the table weighs in products, [W] (``kinds.column_weights``)."""
        return self._parts[2]

    def measures(self, codes: Path) -> Measures:
        """What holds for every row of the table and of these cells, to write beside them.

        Args:
            codes: of kind ``ivf``.

        Raises:
            BundleError: as for opening a bundle with them.
        """
        _, extent, weights, _ = self._parts
        whole = WholeTable(self._index, extent.row_norm)
        cells = Cells(codes, self._index, whole, weights, 1, 1, extent)
        return with_margin(cells.measures)

    def search_by(self, index: Index, codes: Path, measures: Measures | None = None) -> Retriever:
        """The search of this engine by another kind of index, to compare them.

        Args:
            index: which.
            codes: its file, for the kinds that have one.
            measures: of its cells where ``measures`` gave them, to open it sooner.

        Raises:
            BundleError: as for opening a bundle with that index.
        """
        claims = None if measures is None else Claims(codes, measures, seen=True)
        return self._retriever_of(self._candidates(index, codes, claims))

    def _probe(self) -> Query:
        """A few queries of every relation, checked for what the search relies on."""
        layout, path = self.manifest.layout, self.bundle.file(ENCODER)
        relations = np.arange(2 * self.num_relations)
        count = max(_PROBES, len(relations))
        entities = np.linspace(0, self.num_entities - 1, count).astype(np.int64)
        relations = np.resize(relations, count)
        query = self.encode(entities, relations)
        check_queries(path, query, layout)
        some = np.linspace(0, count - 1, _PROBES).astype(np.int64)
        heads = self._index.rows(entities[some]).astype(np.float32)
        self._encoder.pad_less(heads, relations[some], query.take(some))
        return query

    def encode(self, entities: ArrayLike, relations: ArrayLike) -> Query:
        """Queries for entities [B] and relations [B] in [0, 2R).

        Raises:
            InvalidArgument: for rows outside the vocabulary or different lengths.
        """
        rows = row_numbers("entities", entities, self.num_entities)
        wanted = row_numbers("relations", relations, 2 * self.num_relations)
        same_length("relations", len(wanted), "entities", len(rows))
        return self._encode(rows, wanted)

    def _encode(self, entities: Rows, relations: Rows) -> Query:
        heads = self._index.rows(entities).astype(np.float32)
        return self._encoder.encode(heads, relations)

    def predict(
        self,
        entities: ArrayLike,
        relations: ArrayLike,
        k: int,
        *,
        exclude_known: bool = False,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
        threshold: float | None = None,
        exact: bool = True,
    ) -> Answers:
        """The k best answers to each query (entity, relation, ?).

        The entity itself is left out where the relation does not loop (``self_loops``).

        Args:
            entities: [B] rows.
            relations: [B] rows in [0, 2R).
            k: 1 to E.
            exclude_known: leave out known facts; without effect where the bundle has none.
            allow: rows that may be answers; None for all.
            deny: rows that may not.
            threshold: least score of an answer.
            exact: spend what it takes to certify each answer; without it, ``Answers.exact`` says
                which answers were certain anyway.

        Raises:
            InvalidArgument: naming the argument.
        """
        if not 1 <= k <= self.num_entities:
            raise InvalidArgument("k", f"1 to {self.num_entities}, the number of entities", k)
        rows = row_numbers("entities", entities, self.num_entities)
        wanted = row_numbers("relations", relations, 2 * self.num_relations)
        same_length("relations", len(wanted), "entities", len(rows))
        answers = self.answer(
            rows,
            wanted,
            k,
            exclude_known=exclude_known,
            allowed=self._allowed(allow),
            denied=self._denied(deny),
            exact=exact,
        )
        return answers if threshold is None else answers.where(answers.scores >= threshold)

    def answer(
        self,
        entities: Rows,
        relations: Rows,
        k: int,
        *,
        exclude_known: bool,
        allowed: Rows | None,
        denied: Rows | None,
        exact: bool,
    ) -> Answers:
        """The same as ``predict``, for arguments that are known to be sound.

        Args:
            entities: int64 [B].
            relations: int64 [B].
            k: 1 to E.
            exclude_known: see ``predict``.
            allowed: int64, ascending and distinct; None for all.
            denied: int64; None for none.
            exact: see ``predict``.
        """
        start = perf_counter()
        query = self._encode(entities, relations)
        encoded = perf_counter()
        excluded = self._excluded(entities, relations, exclude_known, denied)
        found = self._retriever.best(query, k, excluded, allowed, exact=exact)
        searched = perf_counter() - encoded - found.rescore_s
        seconds = {"encode": encoded - start, "search": searched, "rescore": found.rescore_s}
        self._check_finite(found.scores)
        answers = Answers.of(found, seconds)
        known = None if exclude_known else self.bundle.known
        if known is None:
            return answers
        answers.known = known.marks(entities, relations, answers.offsets, answers.rows)
        return answers

    def _check_finite(self, scores: Array) -> None:
        # One call instead of two: a score is far below the root of the largest number.
        if not isfinite(scores @ scores):
            raise BundleError(self.bundle.path, "a score is not finite")

    def _excluded(
        self, entities: Rows, relations: Rows, known: bool, denied: Rows | None
    ) -> Excluded:
        if known and self.bundle.known is not None:
            offsets, rows = self.bundle.known.of_many(entities, relations)
            excluded = Excluded(offsets, rows.astype(np.int64))
        else:
            excluded = Excluded.nothing(len(entities))
        if self._leaves_out:
            excluded = excluded.with_own(entities, self._loopless[relations])
        return excluded if denied is None else excluded.with_all(denied)

    def scores(self, entities: ArrayLike, relations: ArrayLike) -> Array:
        """Scores [B, E] of every entity as an answer to each query; loops as in ``self_loops``."""
        query = self.encode(entities, relations)
        return self._every_score(query, np.atleast_1d(entities), np.atleast_1d(relations))

    def _every_score(self, query: Query, entities: Rows, relations: Rows) -> Array:
        scores = self._retriever.scores(query)
        lower(scores, entities, relations, self._loopless)
        return scores

    def score(self, heads: ArrayLike, relations: ArrayLike, tails: ArrayLike) -> Array:
        """Scores [B] of tails [B] as answers to (head, relation, ?); relations in [0, 2R)."""
        query = self.encode(heads, relations)
        rows = row_numbers("tails", tails, self.num_entities)
        same_length("tails", len(rows), "heads", len(query))
        scores: Array = self._scorer.scores(query, self._index.rows(rows[:, None]))[:, 0]
        scores[(rows == heads) & self._loopless[np.atleast_1d(relations)]] -= LOOP
        return scores

    def triple_scores(
        self, heads: ArrayLike, relations: ArrayLike, tails: ArrayLike
    ) -> tuple[Array, Array]:
        """Scores [B] of tails and [B] of heads, each as answer to the rest; relations in [0, R)."""
        forward = row_numbers("relations", relations, self.num_relations)
        backward = forward + self.num_relations
        return self.score(heads, forward, tails), self.score(tails, backward, heads)

    def ranks(
        self,
        entities: ArrayLike,
        relations: ArrayLike,
        targets: ArrayLike,
        known: tuple[Rows, NDArray[np.integer]] | None = None,
        going_on: Callable[[], None] = lambda: None,
    ) -> Array:
        """Filtered ranks [B] of targets [B] as answers to (entity, relation, ?).

        Args:
            entities: [B] rows.
            relations: [B] rows in [0, 2R).
            targets: [B] rows.
            known: known answers as (offsets [B + 1], rows); by default the bundle's, and where it
                has none, nothing is left out.
            going_on: called now and then; what it raises ends the work.
        """
        query = self.encode(entities, relations)
        asked, by = np.atleast_1d(entities), np.atleast_1d(relations)
        wanted = row_numbers("targets", targets, self.num_entities)
        if known is None:
            known = self._known(asked, by)
        offsets, rows = known
        ranks = np.empty(len(query))
        step = max(1, _RANKED_PAIRS // self.num_entities)
        for start in range(0, len(query), step):
            going_on()
            part = slice(start, min(start + step, len(query)))
            scores = self._every_score(query.take(part), asked[part], by[part])
            bounds = offsets[part.start : part.stop + 1]
            others = rows[bounds[0] : bounds[-1]]
            ranks[part] = filtered_ranks(scores, wanted[part], bounds - bounds[0], others)
        return ranks

    def _known(self, entities: Rows, relations: Rows) -> tuple[Rows, NDArray[np.int32]]:
        if self.bundle.known is None:
            return np.zeros(len(entities) + 1, np.int64), np.zeros(0, np.int32)
        return self.bundle.known.of_many(entities, relations)

    def relations(
        self,
        heads: ArrayLike,
        tails: ArrayLike,
        k: int,
        *,
        exclude_known: bool = False,
    ) -> Answers:
        """The k relations, 0..R-1, that fit best between heads [B] and tails [B].

        A relation's score is the mean of the triple's scores in both directions. Every relation is
        scored, so every answer is exact.
        """
        if not 1 <= k <= self.num_relations:
            raise InvalidArgument("k", f"1 to {self.num_relations}, the number of relations", k)
        start = perf_counter()
        head, tail = (
            row_numbers("heads", heads, self.num_entities),
            row_numbers("tails", tails, self.num_entities),
        )
        same_length("tails", len(tail), "heads", len(head))
        every = np.tile(np.arange(self.num_relations), len(head))
        triples = np.repeat(head, self.num_relations), every, np.repeat(tail, self.num_relations)
        scores = np.mean(self.triple_scores(*triples), axis=0)
        self._check_finite(scores)
        known = None if self.bundle.known is None else self.bundle.known.contains(*triples)
        if exclude_known and known is not None:
            scores[known] = -np.inf
        shape = (len(head), self.num_relations)
        found = top(every.reshape(shape), scores.reshape(shape), k)
        answers = Answers.of(found, {"search": perf_counter() - start})
        if known is None or exclude_known:
            return answers
        return replace(answers, known=known.reshape(shape)[answers.owners, answers.rows])

    def similar(
        self,
        entities: ArrayLike,
        k: int,
        *,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
    ) -> Answers:
        """The k nearest other entities of each entity [B]; the score is minus the distance.

        Args:
            entities: [B] rows.
            k: at least 1.
            allow: rows that may be answers; None for all.
            deny: rows that may not.
        """
        start = perf_counter()
        rows = row_numbers("entities", entities, self.num_entities)
        found = self._neighbours.nearest(rows, k, self._allowed(allow), self._denied(deny))
        self._check_finite(found.scores)
        return Answers.of(found, {"search": perf_counter() - start})

    def _allowed(self, allow: ArrayLike | None) -> Rows | None:
        if allow is None:
            return None
        return np.unique(row_numbers("allow", allow, self.num_entities, least=0))

    def _denied(self, deny: ArrayLike | None) -> Rows | None:
        return None if deny is None else row_numbers("deny", deny, self.num_entities, least=0)

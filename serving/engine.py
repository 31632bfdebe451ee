"""The engine: rows in, ranked answers out. It knows no network and no names.

Entities and relations are rows of the bundle's vocabulary; relations R..2R-1 are the reciprocals
of 0..R-1, so that (?, r, t) is the query (t, r + R).

Shape letters: B queries, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mulde.bundle import ENCODER, ENTITIES, Bundle, open_bundle
from mulde.errors import BundleError, InvalidArgument
from mulde.ranking import filtered_ranks
from serving.answers import Answers
from serving.candidates import Candidates, Excluded, Rows
from serving.certificate import Certificate
from serving.encoder import Encoder, Query
from serving.index import EntityIndex, use_threads
from serving.retrieval import Retriever, top
from serving.scoring import Array, NeighbourScorer, scorer_for

_RANKED_PAIRS = 1 << 21
_SCANNED_ROWS = 8192
_PROBES = 64


class Engine:
    """One bundle, ready to answer. Threads may share it."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, keep_matrix: bool = True) -> None:
        """Load an opened bundle.

        Args:
            bundle: verified and mapped.
            threads: for one batch in the encoder and the index.
            keep_matrix: see ``Candidates``.

        Raises:
            BundleError: if a file is not what the manifest says, or the encoder's answers break
                the rules of docs/architecture.md.
        """
        use_threads(threads)
        self.bundle, self.manifest = bundle, bundle.manifest
        self.num_entities, self.num_relations = self.manifest.entities, self.manifest.relations
        layout = self.manifest.layout
        self._encoder = Encoder(bundle.file(ENCODER), layout.width, threads=threads)
        self._index = EntityIndex(bundle.file(ENTITIES), self.num_entities, layout.width)
        column_max, row_norm, largest_bias = self._scan()
        self._scorer = scorer_for(self.manifest.score, layout, largest_bias)
        certificate = Certificate(self._scorer, column_max, row_norm)
        table = Candidates(self._index, layout, keep=keep_matrix)
        self._retriever = Retriever(table, self._scorer, certificate)
        nearness = NeighbourScorer(layout, self.manifest.score.curvature)
        certificate = Certificate(nearness, column_max, row_norm)
        self._neighbours = Retriever(table, nearness, certificate)
        self._probe()

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

    def _scan(self) -> tuple[Array, float, float]:
        """Largest magnitude of each column, largest norm and largest tail bias of the table."""
        layout = self.manifest.layout
        column_max, square, bias = np.zeros(layout.width), 0.0, -np.inf
        for start in range(0, self.num_entities, _SCANNED_ROWS):
            stop = min(start + _SCANNED_ROWS, self.num_entities)
            part = self._index.decode(start, stop)
            if not np.isfinite(part).all():
                raise BundleError(self._index.path, "a row is not finite")
            column_max = np.maximum(column_max, np.abs(part).max(axis=0))
            wide = part.astype(np.float64)
            square = max(square, float(np.vecdot(wide, wide).max()))
            bias = max(bias, float(wide[:, layout.tail_bias].sum(axis=1).max()))
        return column_max, float(np.sqrt(square)), bias

    def _probe(self) -> None:
        """Encode a few queries of every relation and check what the search relies on."""
        layout, path = self.manifest.layout, self.bundle.file(ENCODER)
        relations = np.arange(2 * self.num_relations)
        count = max(_PROBES, len(relations))
        entities = np.linspace(0, self.num_entities - 1, count).astype(np.int64)
        query = self.encode(entities, np.resize(relations, count))
        numbers = (query.vector, query.offset, query.bias, query.slope)
        if not all(np.isfinite(part).all() for part in numbers) or not (query.slope > 0).all():
            raise BundleError(path, "expected finite queries with a slope above 0")
        excess, bias = query.vector[:, layout.excess], query.vector[:, layout.tail_bias]
        rest = query.vector[:, layout.head_bias.start :]
        if (excess[:, 0] != excess[:, 1]).any() or (bias != 1).any() or rest.any():
            raise BundleError(path, "expected queries laid out as docs/architecture.md says")

    def encode(self, entities: ArrayLike, relations: ArrayLike) -> Query:
        """Queries for entities [B] and relations [B] in [0, 2R).

        Raises:
            InvalidArgument: for rows outside the vocabulary or different lengths.
        """
        rows = _rows("entities", entities, self.num_entities)
        wanted = _rows("relations", relations, 2 * self.num_relations)
        _same_length("relations", wanted, "entities", rows)
        return self._encoder.encode(self._index.rows(rows).astype(np.float32), wanted)

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
        start = perf_counter()
        query = self.encode(entities, relations)
        encoded = perf_counter()
        entities, relations = np.atleast_1d(entities), np.atleast_1d(relations)
        excluded = self._excluded(entities, relations, exclude_known, deny)
        found = self._retriever.best(query, k, excluded, self._allowed(allow), exact=exact)
        searched = perf_counter() - encoded - found.rescore_s
        seconds = {"encode": encoded - start, "search": searched, "rescore": found.rescore_s}
        self._check_finite(found.scores)
        answers = Answers.of(found, seconds)
        if threshold is not None:
            answers = answers.where(answers.scores >= threshold)
        known = None if exclude_known else self.bundle.known
        if known is None:
            return answers
        owners = answers.owners
        marks = known.contains(entities[owners], relations[owners], answers.rows)
        return replace(answers, known=marks)

    def _check_finite(self, scores: Array) -> None:
        if not np.isfinite(scores).all():
            raise BundleError(self.bundle.path, "a score is not finite")

    def _allowed(self, allow: ArrayLike | None) -> Rows | None:
        if allow is None:
            return None
        return np.unique(_rows("allow", allow, self.num_entities, least=0))

    def _excluded(
        self, entities: Rows, relations: Rows, known: bool, deny: ArrayLike | None
    ) -> Excluded:
        if known and self.bundle.known is not None:
            offsets, rows = self.bundle.known.of_many(entities, relations)
            excluded = Excluded(offsets, rows.astype(np.int64))
        else:
            excluded = Excluded.nothing(len(entities))
        if deny is None:
            return excluded
        return excluded.with_all(_rows("deny", deny, self.num_entities, least=0))

    def scores(self, entities: ArrayLike, relations: ArrayLike) -> Array:
        """Scores [B, E] of every entity as an answer to each query."""
        return self._retriever.scores(self.encode(entities, relations))

    def score(self, heads: ArrayLike, relations: ArrayLike, tails: ArrayLike) -> Array:
        """Scores [B] of tails [B] as answers to (head, relation, ?); relations in [0, 2R)."""
        query = self.encode(heads, relations)
        rows = _rows("tails", tails, self.num_entities)
        if len(rows) != len(query):
            raise InvalidArgument("tails", f"{len(query)}, as many as heads", len(rows))
        return self._scorer.scores(query, self._index.rows(rows[:, None]))[:, 0]

    def triple_scores(
        self, heads: ArrayLike, relations: ArrayLike, tails: ArrayLike
    ) -> tuple[Array, Array]:
        """Scores [B] of tails and [B] of heads, each as answer to the rest; relations in [0, R)."""
        forward = _rows("relations", relations, self.num_relations)
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
        wanted = _rows("targets", targets, self.num_entities)
        if known is None:
            known = self._known(np.atleast_1d(entities), np.atleast_1d(relations))
        offsets, rows = known
        ranks = np.empty(len(query))
        step = max(1, _RANKED_PAIRS // self.num_entities)
        for start in range(0, len(query), step):
            going_on()
            part = slice(start, min(start + step, len(query)))
            scores = self._retriever.scores(query.take(part))
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
            _rows("heads", heads, self.num_entities),
            _rows("tails", tails, self.num_entities),
        )
        _same_length("tails", tail, "heads", head)
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

        d(X, Y) = acosh(1 + u) / sqrt(c), with u = x + (1 + x) y - <X', Y'>; so the nearest are
        those with the greatest product of (X', -(1 + x)) with (Y', y), in the table as it is.
        """
        start = perf_counter()
        rows = _rows("entities", entities, self.num_entities)
        excluded = Excluded(np.arange(len(rows) + 1), rows)
        if deny is not None:
            excluded = excluded.with_all(_rows("deny", deny, self.num_entities, least=0))
        found = self._neighbours.best(
            self._points(rows), k, excluded, self._allowed(allow), exact=True
        )
        self._check_finite(found.scores)
        return Answers.of(found, {"search": perf_counter() - start})

    def _points(self, rows: Rows) -> Query:
        """Entities as queries for their neighbours: offset -x, slope 1, no biases."""
        layout = self.manifest.layout
        points = layout.unpack(self._index.rows(rows))
        vector = np.zeros((len(rows), layout.width), dtype=np.float32)
        vector[:, layout.spatial] = points.spatial
        vector[:, layout.excess] = -(1.0 + points.excess)[:, None]
        return Query(vector, -points.excess, np.zeros(len(rows)), np.ones(len(rows)))


def _rows(field: str, values: ArrayLike, limit: int, least: int = 1) -> Rows:
    """Row numbers as int64 [B], each in [0, limit)."""
    array = np.atleast_1d(np.asarray(values))
    if array.size == 0 and least == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.size < least or array.dtype.kind not in "iu":
        raise InvalidArgument(field, f"a list of row numbers, at least {least}", values)
    outside = (array < 0) | (array >= limit)
    if outside.any():
        raise InvalidArgument(field, f"rows from 0 to {limit - 1}", int(array[outside][0]))
    return array.astype(np.int64)


def _same_length(field: str, rows: Rows, other: str, others: Rows) -> None:
    if len(rows) != len(others):
        raise InvalidArgument(field, f"{len(others)}, as many as {other}", len(rows))

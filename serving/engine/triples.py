"""Scores, ranks and plausibilities of triples; no index takes part.

Entities and relations are rows of the bundle's vocabulary; relations R..2R-1 are the reciprocals
of 0..R-1, so that (?, r, t) is the query (t, r + R).

Shape letters: B queries or triples, E entities of the table, O beyond it, R relations, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mulde.bundle.bundle import Bundle, open_bundle
from mulde.errors import InvalidArgument
from mulde.evaluation.calibration import BASE_RATE
from mulde.evaluation.ranking import filtered_ranks
from mulde.evaluation.self_loops import lower
from mulde.typing import Float64, Floats, Ints, Mask, Offsets, Rows
from serving.engine.index.base import Check, no_check
from serving.engine.loading import LoadedModel
from serving.engine.overlay import Amendments, Overlay
from serving.engine.scoring import HeadQueries, Query

STEP_TRIPLES = 1 << 13
_STEP_SCORES = 1 << 19

Known = tuple[Offsets, Ints]
"""Known answers of queries: offsets [B + 1] and rows."""


class TripleScorer:
    """One bundle, ready to score triples. Threads may share it."""

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
    def open(cls, bundle: Bundle | Path | str, *, threads: int = 1) -> Self:
        """Load a bundle, opening it first where a path is given.

        Raises:
            BundleError: if it is missing, damaged, foreign or does not match its model.
        """
        if not isinstance(bundle, Bundle):
            bundle = open_bundle(Path(bundle))
        return cls(bundle, threads=threads)

    def amended(self, amendments: Amendments) -> Self:
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
        for step in slices(len(rows), STEP_TRIPLES):
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
        for step in slices(len(rows), _STEP_SCORES // self.num_entities):
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


def slices(count: int, size: int) -> Iterator[slice]:
    """Return slices of at most ``size`` elements of ``count``."""
    size = max(1, size)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def row_numbers(field: str, values: ArrayLike, limit: int, least: int = 1) -> Rows:
    """Row numbers as int64 [B].

    Args:
        field: what they are called, for the error.
        values: one number or several.
        limit: each must be in [0, limit).
        least: how many there must be.

    Raises:
        InvalidArgument: naming the field.
    """
    array = np.asarray(values)
    if array.ndim == 0:
        array = array[None]
    if array.size == 0 and least == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.size < least or array.dtype.kind not in "iu":
        raise InvalidArgument(field, f"a list of row numbers, at least {least}", values)
    if not _within(array, limit):
        outside = (array < 0) | (array >= limit)
        raise InvalidArgument(field, f"rows from 0 to {limit - 1}", int(array[outside][0]))
    return array.astype(np.int64, copy=False)


def _within(array: NDArray[np.integer], limit: int) -> bool:
    """Whether all of [B] are in [0, limit); one query has no time for arrays of booleans."""
    if len(array) == 1:
        return 0 <= int(array[0]) < limit
    return bool(np.minimum.reduce(array) >= 0 and np.maximum.reduce(array) < limit)


def same_length(field: str, count: int, other: str, expected: int) -> None:
    """Refuse parallel lists of different lengths.

    Raises:
        InvalidArgument: naming the field.
    """
    if count != expected:
        raise InvalidArgument(field, f"{expected}, as many as {other}", count)


def plausibilities(
    engine: TripleScorer,
    triples: tuple[Rows, Rows, Rows],
    scores: tuple[Float64, Float64],
    base_rate: float = BASE_RATE,
) -> Float64:
    """Return the chance [n] that triples are true rather than corrupted.

    Args:
        engine: of a bundle with a calibration.
        triples: heads, relations and tails, [n] each; relations in [0, R).
        scores: of tails and of heads by the scorer alone, [n] each.
        base_rate: see ``Calibration.plausibility``.
    """
    calibration = engine.bundle.calibration
    assert calibration is not None
    heads, relations, tails = triples
    biases = np.column_stack([entity_biases(engine, heads), entity_biases(engine, tails)])
    found = calibration.plausibility(*scores, relations, biases, base_rate)
    found[engine.self_loops(heads, relations, tails)] = calibration.triples.floor
    return found


def entity_biases(engine: TripleScorer, entities: Rows) -> Float64:
    """Tail bias and head bias of entities, [n, 2]."""
    layout, rows = engine.manifest.layout, engine.answer_rows(entities).astype(np.float64)
    columns = rows[:, layout.tail_bias].sum(axis=1), rows[:, layout.head_bias].sum(axis=1)
    return np.column_stack(columns)

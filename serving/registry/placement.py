"""Place unseen entities against a loaded bundle.

The guard (``mulde.placement.solver``) is a sample of the training's queries, taken from the known
facts or, in a bundle without them, from the built-in types: the members of ``head:r`` are the
entities whose query (entity, r, ?) the training has asked. It is made at the first placement.

Shape letters: B queries, W width of the table, n facts, S sampled rows.
"""

from __future__ import annotations

import threading
import tomllib
from functools import cached_property
from typing import Any

import numpy as np

from mulde.bundle.bundle import Bundle
from mulde.bundle.files import RECIPE
from mulde.placement.solver import (
    FrozenModel,
    Placement,
    likely_mean,
    place,
    query_mean,
    query_row,
)
from mulde.typing import Float64, Floats, Rows
from serving.engine.index.base import Exclusions, Search
from serving.engine.loading import LoadedModel
from serving.engine.overlay import Overlay
from serving.engine.results import Results
from serving.engine.scoring import Query

_GUARD_QUERIES = 2000
_GUARD_STRENGTHS = {"cross-entropy": 3.0, "bce": 1.0}
"""Weight of the guard, 1 being what the training weighs; benchmarks/unseen.md has the trade."""
_PULL = 0.5
_SAMPLED_ROWS = 1024
_BEST = 64
_STEP = 256


class Placer:
    """Places entities against one loaded bundle. Threads may share it."""

    def __init__(self, bundle: Bundle, loaded: LoadedModel) -> None:
        """Remember the parts; nothing is computed yet."""
        self._bundle, self._loaded = bundle, loaded
        self._lock = threading.Lock()

    @property
    def has_guard(self) -> bool:
        """Whether entities are fitted; else they get the query mean.

        For that the score must be linear, and the bundle must say what the training asked.
        """
        linear = self._bundle.manifest.score.kind == "linear"
        return linear and (self._bundle.known is not None or self._bundle.types is not None)

    def place(self, neighbours: Floats, relations: Rows) -> Placement:
        """Place an entity with facts (entity, relation, neighbour).

        Args:
            neighbours: [n, W], rows that stand for the neighbours as heads of queries.
            relations: [n], in [0, 2R).
        """
        with self._lock:  # the first placement computes the guard; others wait for it
            model = self._model
        count = self._bundle.manifest.relations
        back = (relations + count) % (2 * count)
        queries = self._queries(neighbours, back)
        wide = self._wide(queries)
        if not len(model.guard):
            row = query_row(model, query_mean(model, wide))
            return Placement(row, row)
        if not self._is_cross_entropy:
            return place(model, wide, np.zeros(len(wide)))
        best = self._best(queries)
        mean = likely_mean(model, wide, *self._likely(best.rows))
        return place(model, wide, self._levels(wide, best), mean)

    def query_rows(self, overlay: Overlay, entities: Rows) -> Floats:
        """Return rows [n, W] of entities [n] of the table or an overlay, as heads of queries."""
        return overlay.query_rows(self._loaded.table, entities)

    def _queries(self, rows: Floats, relations: Rows) -> Query:
        return self._loaded.questions(rows, relations, priors=False).encoded()

    def _wide(self, query: Query) -> Float64:
        """Return wide queries [B, W + 1]."""
        return np.column_stack([query.vector.astype(np.float64), query.offset + query.bias])

    def _best(self, query: Query) -> Results:
        """Return the best rows of each query; they need not be certified."""
        k = min(_BEST, self._bundle.manifest.entities)
        return self._loaded.retriever.search(
            query, Search(k, Exclusions.none(len(query)), exact=False)
        )

    def _levels(self, wide: Float64, best: Results) -> Float64:
        """Return log-partitions [B] of wide queries: the best rows exactly, the rest sampled."""
        scores = best.scores.reshape(len(wide), -1)
        rest = self._bundle.manifest.entities - scores.shape[1]
        sample = wide @ self._sample.T
        below = sample < scores[:, -1:]
        top = scores[:, 0]
        share = np.exp(np.where(below, sample - top[:, None], -np.inf)).sum(axis=1)
        share *= rest / np.maximum(below.sum(axis=1), 1)
        levels: Float64 = top + np.log(np.exp(scores - top[:, None]).sum(axis=1) + share)
        return levels

    def _likely(self, best: Rows) -> tuple[Float64, Float64]:
        """Return wide rows [S, W + 1] and how many of the table each stands for.

        Args:
            best: rows that stand for themselves; the sample stands for the others.
        """
        rows = np.unique(best)
        others = ~np.isin(self._sampled, rows, assume_unique=True)
        rest = self._bundle.manifest.entities - len(rows)
        counts = np.ones(len(rows) + int(others.sum()))
        counts[len(rows) :] = rest / max(1, int(others.sum()))
        return np.concatenate([self._wide_rows(rows), self._sample[others]]), counts

    @cached_property
    def _sampled(self) -> Rows:
        """Entities drawn from the table, [S], ascending."""
        entities = self._bundle.manifest.entities
        rng, count = np.random.default_rng(0), min(_SAMPLED_ROWS, entities)
        return np.sort(rng.choice(entities, count, replace=False))

    @cached_property
    def _sample(self) -> Float64:
        """Their wide rows, [S, W + 1]."""
        return self._wide_rows(self._sampled)

    def _wide_rows(self, entities: Rows) -> Float64:
        """Return wide rows [n, W + 1] of the table, without relation priors."""
        rows = self._loaded.table.rows(entities).astype(np.float64)
        rows[:, self._bundle.manifest.layout.priors] = 0.0
        return np.column_stack([rows, np.ones(len(rows))])

    @cached_property
    def _model(self) -> FrozenModel:
        manifest = self._bundle.manifest
        points = manifest.layout.unpack(self._sample[:, :-1])
        asked, total = np.zeros((0, 2), np.int64), 0
        if self.has_guard:
            asked, total = _train_queries(self._bundle)
        steps = [slice(start, start + _STEP) for start in range(0, len(asked), _STEP)]
        parts = [self._queries(self._loaded.table.rows(asked[s, 0]), asked[s, 1]) for s in steps]
        wide = [np.zeros((0, manifest.layout.width + 1)), *map(self._wide, parts)]
        levels = [np.zeros(0), *map(self._guard_levels, parts)]
        return FrozenModel(
            layout=manifest.layout,
            guard=np.concatenate(wide),
            guard_levels=np.concatenate(levels),
            guard_weight=self._weight * total / max(1, len(asked)),
            pull=_PULL,
            norm=float(np.linalg.norm(points.spatial, axis=1).mean()),
            tail_bias=float(points.tail_bias.mean()),
            head_bias=float(points.head_bias.mean()),
        )

    def _guard_levels(self, query: Query) -> Float64:
        if not self._is_cross_entropy:
            return np.zeros(len(query))
        return self._levels(self._wide(query), self._best(query))

    @cached_property
    def _training(self) -> dict[str, Any]:
        """The settings of the Junior's training; empty for an imported model."""
        if RECIPE not in self._bundle.manifest.files:
            return {}
        text = self._bundle.file(RECIPE).read_text(encoding="utf-8")
        settings = tomllib.loads(text).get("junior_training", {})
        return settings if isinstance(settings, dict) else {}

    @property
    def _is_cross_entropy(self) -> bool:
        return bool(self._training.get("loss", "bce") == "cross-entropy" or not self._training)

    @property
    def _weight(self) -> float:
        """The guard's weight of one query of the training, against a fact's 1."""
        if self._is_cross_entropy:
            return _GUARD_STRENGTHS["cross-entropy"]
        negatives = self._training.get("negatives", 1)
        weight = float(self._training.get("negative_weight", negatives))
        return _GUARD_STRENGTHS["bce"] * weight / self._bundle.manifest.entities


def _train_queries(bundle: Bundle) -> tuple[Rows, int]:
    """Return a sample [G, 2] of (entity, relation) that the training asked, and their number."""
    rng, entities = np.random.default_rng(1), bundle.manifest.entities
    if bundle.known is not None:
        keys = bundle.known.keys
        chosen = keys[_chosen(rng, len(keys))].astype(np.int64)
        return np.column_stack([chosen % entities, chosen // entities]), len(keys)
    assert bundle.types is not None
    relations = bundle.vocabulary.relations.ids
    names = [f"{side}:{relation}" for side in ("head", "tail") for relation in relations]
    members = [bundle.types.of(name) for name in names]
    kinds = np.repeat(np.arange(len(names)), [len(rows) for rows in members])
    pairs = np.column_stack([np.concatenate(members), kinds]).astype(np.int64)
    return pairs[_chosen(rng, len(pairs))], len(pairs)


def _chosen(rng: np.random.Generator, count: int) -> Rows:
    return np.sort(rng.choice(count, min(_GUARD_QUERIES, count), replace=False))

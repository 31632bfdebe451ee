"""A trained scorer for a graph with more entities and relations.

Rows that the old graph has keep their numbers. A new relation starts as a copy of the known
direction that ranks its facts best. A new entity starts at the mean of the query vectors of its
neighbours, where the model expects the answer of (neighbour, relation, ?); after a training of a
bilinear scorer by cross entropy, at what ``training.update.solve`` makes of it.

Shape letters: E entities, R relations, D dimension, n facts, S sampled facts, N negatives.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mulde.typing import Rows, Triples
from training.distillation.queries import both_directions
from training.ops import hyperbolic
from training.scorers import BilinearScorer, HyperbolicScorer, Scorer
from training.update.growth import NEW, Growth
from training.update.solve import KnownQueries, solve

ENTITY_TABLES = ("entity", "head_bias", "tail_bias")
_FACTS, _NEGATIVES = 256, 256
_GUARD, _GUARD_STRENGTH = 1000, 3.0
"""Known queries that new entities should not answer, and their weight; 1 is the training's."""
_ROUNDS = 3
"""Rounds of placing: entities whose neighbours are all new are placed after these."""


@torch.no_grad()
def grow(old: Scorer, fresh: Scorer, growth: Growth, seed: int, *, solved: bool = False) -> Scorer:
    """Return ``fresh`` with the old rows, and starting values for the new ones.

    Args:
        old: trained on ``growth.old``.
        fresh: the same model for ``growth.graph``, before its first step.
        growth: which rows are new.
        seed: of the sampled negatives and queries.
        solved: whether new entities of a bilinear scorer start at solved vectors.
    """
    both = np.where(growth.relations == NEW, NEW, growth.relations + growth.old.num_relations)
    directions = np.concatenate([growth.relations, both])
    before = old.state_dict()
    for name, table in fresh.state_dict().items():
        if name in ENTITY_TABLES:
            _copy(table, before[name], growth.entities)
        elif table.ndim and len(table) == 2 * growth.graph.num_relations:
            _copy(table, before[name], directions)
        else:
            table.copy_(before[name])
    if len(growth.new_relations):
        _start_relations(fresh, growth, seed)
    if len(growth.new_entities):
        _start_entities(fresh, growth)
        if solved and isinstance(fresh, BilinearScorer):
            _solve_entities(fresh, growth, seed)
    return fresh


def _copy(table: Tensor, before: Tensor, rows: Rows) -> None:
    """Rows of the old table to their places; the new ones keep their first values."""
    known = torch.from_numpy(np.flatnonzero(rows != NEW))
    table[known] = before[torch.from_numpy(rows)[known]]


def _start_relations(scorer: Scorer, growth: Growth, seed: int) -> None:
    """Copy to each new direction the known one that ranks its facts of known entities best."""
    graph, generator = growth.graph, torch.Generator().manual_seed(seed)
    known = np.flatnonzero(growth.relations != NEW)
    directions = torch.from_numpy(np.concatenate([known, known + graph.num_relations]))
    placed = growth.entities != NEW
    facts = both_directions(growth.added, graph.num_relations)
    facts = facts[placed[facts[:, 0]] & placed[facts[:, 2]]]
    negatives = torch.randint(graph.num_entities, (_NEGATIVES,), generator=generator)
    tables = [
        table
        for name, table in scorer.state_dict().items()
        if name not in ENTITY_TABLES and table.ndim and len(table) == 2 * graph.num_relations
    ]
    for row in growth.new_relations.tolist():
        for direction in (row, row + graph.num_relations):
            own = torch.from_numpy(facts[facts[:, 1] == direction][:_FACTS])
            if len(own):
                best = _likest(scorer, own, directions, negatives)
                for table in tables:
                    table[direction] = table[best]


def _likest(scorer: Scorer, facts: Tensor, directions: Tensor, negatives: Tensor) -> int:
    """The known direction under which facts [S, 3] have the best mean reciprocal rank."""
    entity, _, target = facts.T
    quality = []
    for direction in directions.tolist():
        query = scorer.query(entity, torch.full_like(entity, direction))
        right = scorer.score_own(query, target.unsqueeze(1))
        above = (scorer.score_shared(query, negatives) >= right).sum(1)
        quality.append(float((1 / (1 + above)).mean()))
    return int(directions[int(np.argmax(quality))])


def _start_entities(scorer: Scorer, growth: Growth) -> None:
    """Place new entities at the mean query vector of their neighbours that have a place.

    Those that have no such neighbour wait for the next round; after the last one they get the mean
    vector of the table.
    """
    placed = growth.entities != NEW
    entity = scorer.get_parameter("entity")
    tables = [entity, scorer.head_bias, scorer.tail_bias]
    known = torch.from_numpy(np.flatnonzero(placed))
    for table in tables:
        table[torch.from_numpy(growth.new_entities)] = table[known].mean(0)
    length = entity[known].norm(dim=1).mean()
    facts = both_directions(growth.graph.train, growth.graph.num_relations)
    facts = facts[~placed[facts[:, 2]]]
    for _ in range(_ROUNDS):
        usable = facts[placed[facts[:, 0]] & ~placed[facts[:, 2]]]
        if not len(usable):
            return
        rows, vectors = _mean_queries(scorer, usable)
        if isinstance(scorer, BilinearScorer):
            vectors *= length / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
        entity[rows] = vectors
        placed[rows.numpy()] = True


def _solve_entities(scorer: BilinearScorer, growth: Growth, seed: int) -> None:
    """Solve for the new entities that have facts with known ones."""
    placed, relations = growth.entities != NEW, growth.graph.num_relations
    facts = both_directions(growth.graph.train, relations).astype(np.int64)
    facts = facts[placed[facts[:, 0]]]
    old = placed[facts[:, 2]]
    asked = np.unique(facts[old][:, :2], axis=0)
    usable = torch.from_numpy(facts[~old])
    if not len(usable) or not len(asked):
        return
    drawn = np.random.default_rng(seed).choice(len(asked), min(_GUARD, len(asked)), replace=False)
    known = torch.from_numpy(np.flatnonzero(placed))
    new, owners = torch.unique(usable[:, 2], return_inverse=True)
    shared = KnownQueries(
        scorer.entity[known],
        scorer.tail_bias[known],
        _encoded(scorer, torch.from_numpy(asked[np.sort(drawn)])),
        _GUARD_STRENGTH * len(asked) / len(drawn),
        float(scorer.tail_bias[known].mean()),
    )
    scorer.entity[new] = solve(shared, _encoded(scorer, usable), owners, scorer.entity[new])


def _encoded(scorer: BilinearScorer, pairs: Tensor) -> Tensor:
    """Query vectors [n, D] of entities and relations, the first columns of ``pairs`` [n, 2..]."""
    return scorer.query(pairs[:, 0], pairs[:, 1]).encoded


def _mean_queries(scorer: Scorer, facts: Triples | Rows) -> tuple[Tensor, Tensor]:
    """The distinct targets of facts [n, 3], and the mean of each one's query vectors."""
    entity, relation, target = torch.from_numpy(facts).T
    vectors = query_vectors(scorer, entity, relation)
    rows, place = torch.unique(target, return_inverse=True)
    total = torch.zeros(len(rows), vectors.shape[1]).index_add_(0, place, vectors)
    return rows, total / torch.bincount(place).unsqueeze(1)


def query_vectors(scorer: Scorer, entity: Tensor, relation: Tensor) -> Tensor:
    """Where queries expect their answers, [B, D], in the numbers of the scorer's entity table.

    Vectors of a bilinear scorer have length 1: its score has no absolute size.
    """
    if isinstance(scorer, HyperbolicScorer):
        points = scorer.encode(scorer.spatial(entity), relation)
        return hyperbolic.logmap0(points, scorer.curvature())
    assert isinstance(scorer, BilinearScorer)
    return nn.functional.normalize(scorer.query(entity, relation).encoded)

"""Known facts like a triple: the same relation, and entities near its own in the model's space.

Shape letters: B triples, n entities, m facts that are looked at, F similar facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.runs import run_owners, run_places
from mulde.typing import Float64, Offsets, Rows
from serving.engine.engine import Engine

NEIGHBOURS = 8
"""Nearest entities of a head and of a tail whose facts are looked at."""
MOST_EACH = 32
"""Known facts of each of them that are looked at."""


@dataclass(frozen=True)
class SimilarFacts:
    """Known facts (head, relation of the triple, tail), the nearest of each triple first.

    Attributes:
        offsets: [B + 1]; triple i has the facts ``offsets[i]`` to ``offsets[i + 1]``.
        heads, tails: [F].
        distances: [F], from head to head plus from tail to tail, in the model's space.
    """

    offsets: Offsets
    heads: Rows
    tails: Rows
    distances: Float64


def find_similar_facts(
    engine: Engine, heads: Rows, relations: Rows, tails: Rows, most: int
) -> SimilarFacts:
    """Return up to ``most`` known facts that are like each triple [B], without the triple itself.

    Looked at are ``MOST_EACH`` facts of the head, of the tail and of the ``NEIGHBOURS`` nearest
    entities of each.
    """
    near = _Neighbourhoods(engine, np.concatenate([heads, tails]))
    count = len(heads)
    owner, head, gap, tail = near.facts(np.arange(count), relations)
    back = near.facts(count + np.arange(count), relations + engine.num_relations)
    owner = np.concatenate([owner, back[0] - count])
    far = np.concatenate(
        [
            gap + _distances(engine, tails[owner[: len(gap)]], tail),
            back[2] + _distances(engine, heads[owner[len(gap) :]], back[3]),
        ]
    )
    head, tail = np.concatenate([head, back[3]]), np.concatenate([tail, back[1]])
    order = np.lexsort((tail, head, far, owner))
    owner, head, tail, far = owner[order], head[order], tail[order], far[order]
    fresh = (head != heads[owner]) | (tail != tails[owner])
    columns = owner, head, tail  # a fact that was found from both sides has equal distances
    fresh[1:] &= np.any([column[1:] != column[:-1] for column in columns], axis=0)
    owner, head, tail, far = owner[fresh], head[fresh], tail[fresh], far[fresh]
    kept = np.arange(len(owner)) - np.searchsorted(owner, owner) < most
    offsets = np.searchsorted(owner[kept], np.arange(count + 1))
    return SimilarFacts(offsets, head[kept], tail[kept], far[kept])


class _Neighbourhoods:
    """Entities [n] with their nearest others and the known facts of all of them."""

    def __init__(self, engine: Engine, entities: Rows) -> None:
        self._engine = engine
        distinct, self._which = np.unique(entities, return_inverse=True)
        others = min(NEIGHBOURS, engine.num_rows - 1)
        self._near = np.empty((len(distinct), 1 + others), dtype=np.int64)
        self._gaps = np.zeros((len(distinct), 1 + others))
        self._near[:, 0] = distinct
        if others:
            found = engine.similar(distinct, others)
            self._near[:, 1:] = found.rows.reshape(-1, others)
            self._gaps[:, 1:] = -found.scores.reshape(-1, others)

    def facts(self, places: Rows, directions: Rows) -> tuple[Rows, Rows, Float64, Rows]:
        """Known answers of the neighbourhoods of some of the entities.

        Args:
            places: [B], which of the n entities; each is the owner of its facts.
            directions: [B] rows in [0, 2R), what is asked.

        Returns:
            Owner, neighbour, its distance from the entity, and known answer, [m] each.
        """
        known = self._engine.amendments.known
        assert known is not None
        near, gaps = self._near[self._which[places]], self._gaps[self._which[places]]
        queries = near * np.int64(2 * self._engine.num_relations) + directions[:, None]
        distinct, which = np.unique(queries, return_inverse=True)
        entities, asked = np.divmod(distinct, 2 * self._engine.num_relations)
        offsets, answers = known.of_many(entities, asked)
        counts = np.minimum(np.diff(offsets), MOST_EACH)[which.reshape(-1)]
        starts = offsets[:-1][which.reshape(-1)]
        entry = run_owners(counts)
        found = answers[run_places(starts, counts)].astype(np.int64)
        owner = places[entry // near.shape[1]]
        return owner, near.reshape(-1)[entry], gaps.reshape(-1)[entry], found


def _distances(engine: Engine, first: Rows, second: Rows) -> Float64:
    """Distances between entities [m] and [m]."""
    scorer = engine.loaded.neighbour_scorer
    queries = scorer.queries(engine.answer_rows(first))
    distances: Float64 = -scorer.scores(queries, engine.answer_rows(second[:, None]))[:, 0]
    distances[first == second] = 0.0
    return distances

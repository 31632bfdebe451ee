"""Traits: numbers of an entity that its point cannot hold, and what each relation makes of them.

Whether an entity is *taken* by a direction, that is, whether train gives it as an answer there,
says much about whether it is one more: a synset has one hypernym, so one whose hypernym train
holds is hardly ever the missing hyponym of another; what was a country of birth once will be again.
No training on train can learn that, where every answer is taken by itself. So J directions are
chosen on valid, and a weight of each relation for each of these traits:

    score'(e, r, t) = score(e, r, t) + sum_j w[r, j] taken_j(t)

That is linear in the tail: the traits are columns of the entity table, the weights are constants of
each relation's queries, and the index stays exact.

Shape letters: n triples, E entities, R relations, J traits, B queries, Q queries of valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulde.evaluation.metrics import RankingTask, Scores
from mulde.evaluation.ranking import filtered_ranks
from mulde.graph.graph import Graph
from training.distillation.queries import both_directions

STEPS = (-8.0, -4.0, -2.0, -1.0, -0.5, 1.0, 4.0)
"""Weights that are tried, in units of the score; 0 is always among them."""

TRIED = 8
"""Directions that are tried as a trait: those that valid asks about most."""

LEAST = 1e-4
"""What a trait must add to the MRR of valid."""

FEWEST = 10
"""Queries of valid that each half of a relation's must hold, or its weights stay 0."""

MOST = 1 << 13
"""Queries of valid that are looked at, evenly spread where there are more."""

_SCORES = 1 << 24

Array = NDArray[np.float32]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Traits:
    """What was chosen.

    Attributes:
        directions: J relation rows in [0, 2R).
        taken: [E, J], 1 for an entity that train gives as an answer in the direction, else 0.
        weights: [2R, J].
    """

    directions: tuple[int, ...]
    taken: Array
    weights: Array

    @classmethod
    def none(cls, entities: int, relations: int) -> Traits:
        """No trait."""
        return cls(
            (), np.zeros((entities, 0), np.float32), np.zeros((2 * relations, 0), np.float32)
        )

    def added(self, scores: Scores) -> Scores:
        """The same scores and what the traits add."""

        def with_traits(
            entity: NDArray[np.int64], relation: NDArray[np.int64]
        ) -> NDArray[np.floating]:
            found = scores(entity, relation)
            return found + (self.weights[relation] @ self.taken.T).astype(found.dtype)

        return with_traits if self.directions else scores


def choose_traits(
    scores: Scores, graph: Graph, valid: RankingTask, count: int, report: Report = lambda step: None
) -> Traits:
    """Choose up to ``count`` traits and their weights, one after the other, on valid.

    A relation's weight is the step with the greatest gain of MRR on the half of its queries of
    valid that gains less, and 0 where no step is good for both or a half is too small; the trait
    is the direction whose weights gain most together.

    Args:
        scores: of the model as it would be served without traits.
        graph: whose train says what is taken.
        valid: its valid split.
        count: J, at most.
        report: is told what is being done.
    """
    valid = _some(valid)
    asked = np.bincount(valid.relation, minlength=2 * graph.num_relations)
    tried = [int(row) for row in np.argsort(-asked, kind="stable")[:TRIED] if asked[row]]
    chosen = Traits.none(graph.num_entities, graph.num_relations)
    for number in range(1, count + 1):
        left = [row for row in tried if row not in chosen.directions]
        if not left:
            break
        report(f"choosing trait {number} of {count} on valid")
        columns = taken(graph, left)
        gains = _gains(chosen.added(scores), valid, columns)
        weights, worth = _weights(gains, valid.relation, 2 * graph.num_relations)
        best = int(np.argmax(worth))
        if worth[best] < LEAST:
            break
        chosen = Traits(
            (*chosen.directions, left[best]),
            np.column_stack([chosen.taken, columns[best]]),
            np.column_stack([chosen.weights, weights[best]]),
        )
    return chosen


def _some(task: RankingTask) -> RankingTask:
    rows = np.linspace(0, len(task.target) - 1, min(MOST, len(task.target))).astype(np.int64)
    return RankingTask(task.entity[rows], task.relation[rows], task.target[rows], task.known)


def taken(graph: Graph, directions: list[int]) -> Array:
    """[len(directions), E]: 1 where train gives the entity as an answer in the direction."""
    rows = both_directions(graph.train, graph.num_relations)
    columns = np.zeros((len(directions), graph.num_entities), np.float32)
    for place, direction in enumerate(directions):
        columns[place, rows[rows[:, 1] == direction, 2]] = 1
    return columns


def _gains(scores: Scores, valid: RankingTask, columns: Array) -> NDArray[np.float64]:
    """Gain of reciprocal rank [C, steps, Q] of each query by each column and step."""
    gains = np.empty((len(columns), len(STEPS), len(valid.target)))
    batch = max(1, _SCORES // columns.shape[1])
    for start in range(0, len(valid.target), batch):
        part = slice(start, start + batch)
        entity, relation, target = valid.entity[part], valid.relation[part], valid.target[part]
        known = valid.known.of_many(entity, relation)
        found = scores(entity, relation)
        plain = 1 / filtered_ranks(found, target, *known)
        for place, column in enumerate(columns):
            for at, step in enumerate(STEPS):
                moved = found + np.float32(step) * column
                gains[place, at, part] = 1 / filtered_ranks(moved, target, *known) - plain
    return gains


def _weights(
    gains: NDArray[np.float64], relation: NDArray[np.int64], directions: int
) -> tuple[Array, NDArray[np.float64]]:
    """Weights [C, 2R], and what they add to the MRR over all queries, [C]."""
    weights = np.zeros((len(gains), directions), np.float32)
    worth = np.zeros(len(gains))
    for row in np.unique(relation):
        mine = gains[:, :, relation == row]
        if mine.shape[2] < 2 * FEWEST:
            continue
        lesser = np.minimum(mine[:, :, 0::2].mean(2), mine[:, :, 1::2].mean(2))
        for place, at in enumerate(lesser.argmax(1)):
            if lesser[place, at] > 0:
                weights[place, row] = STEPS[at]
                worth[place] += mine[place, at].sum() / gains.shape[2]
    return weights, worth

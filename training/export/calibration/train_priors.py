"""Relation priors: what train says about an entity's slots, weighed for each relation on valid.

A *slot* is a relation row r: an entity fills it if train gives the entity as an answer there. Slots
that are filled tell whether an entity is one more answer: a synset has one hypernym, so a synset
whose hypernym train holds is hardly ever the missing hyponym of another; an entity that was a
country of birth once will be one again. Training on train cannot learn that, because there every
answer fills its own slot. Groups of slots with similar entities stand for domains and ranges: an
adjective fills no slot of the group that nouns fill. So J slots or groups are chosen on valid, with
a weight for each relation:

    score'(e, r, t) = score(e, r, t) + sum_j w[r, j] filled_j(t)

This is linear in the tail: the slots are columns of the entity table, the weights constants of each
relation's queries, and the index stays exact.

Shape letters: n triples, E entities, R relations, J slots or groups, C candidates for them,
B queries, Q queries of valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.spatial.distance import squareform

from mulde.evaluation.metrics import RankingTask, Scores
from mulde.graph.graph import Graph
from mulde.typing import Float32, Float64, Floats, Rows
from training.distillation.queries import both_directions

STEPS = (-8.0, -4.0, -2.0, -1.0, -0.5, 1.0, 4.0)
"""Weights that are tried, in units of the score; 0 is always among them."""

TRIED = 8
"""Slots that are tried: the relation rows that valid asks about most."""

GROUPS = 4
"""Groups of slots that are tried."""

LEAST = 2e-3
"""Least gain of valid MRR by a slot or group; smaller gains did not last on test."""

FEWEST = 10
"""Least queries in each half of a relation's valid queries; with fewer its weights stay 0."""

MOST = 1 << 13
"""Most queries of valid that are read, evenly spread."""

_SCORES = 1 << 20
"""Scores of a batch: few enough to stay in the cache while they are compared."""

Report = Callable[[str], None]
Group = tuple[int, ...]


@dataclass(frozen=True)
class RelationPriors:
    """Chosen slots and their weights.

    Attributes:
        slots: J groups of relation rows in [0, 2R).
        filled: [E, J], 1 for an entity that train gives as an answer in one of the slots, else 0.
        weights: [2R, J].
    """

    slots: tuple[Group, ...]
    filled: Float32
    weights: Float32

    @classmethod
    def none(cls, entities: int, relations: int) -> RelationPriors:
        """No priors."""
        return cls(
            (), np.zeros((entities, 0), np.float32), np.zeros((2 * relations, 0), np.float32)
        )

    def added(self, scores: Scores) -> Scores:
        """Return the scores with the priors added."""

        def with_priors(entity: Rows, relation: Rows) -> Floats:
            found = scores(entity, relation)
            return found + (self.weights[relation] @ self.filled.T).astype(found.dtype)

        return with_priors if self.slots else scores


def choose_priors(
    scores: Scores, graph: Graph, valid: RankingTask, count: int, report: Report = lambda step: None
) -> RelationPriors:
    """Choose up to ``count`` slots or groups and their weights on valid, one after the other.

    A relation's weight is the step with the greatest gain of MRR on the half of its queries of
    valid that gains less, among those that gain more than one standard error; it is 0 where no step
    does and helps both halves, or a half is too small. The slot is the one whose weights gain most
    together, and it is left out if that is less than two standard errors.

    Args:
        scores: of the model as it would be served without priors.
        graph: its train says which slots are filled.
        valid: its valid split.
        count: most slots and groups.
        report: called with each step's name.
    """
    valid = _sample(valid)
    asked = np.bincount(valid.relation, minlength=2 * graph.num_relations)
    tried: list[Group] = [
        (int(row),) for row in np.argsort(-asked, kind="stable")[:TRIED] if asked[row]
    ]
    tried += [group for group in similar_slots(graph, GROUPS) if group not in tried]
    chosen = RelationPriors.none(graph.num_entities, graph.num_relations)
    for number in range(1, count + 1):
        left = [row for row in tried if row not in chosen.slots]
        if not left:
            break
        report(f"choosing relation prior {number} of {count} on valid")
        columns = filled(graph, left)
        gains = rank_gains(chosen.added(scores), valid, columns)
        weights, gained = _weights(gains, valid.relation, 2 * graph.num_relations)
        best = int(np.argmax(gained))
        if gained[best] < LEAST:
            break
        chosen = RelationPriors(
            (*chosen.slots, left[best]),
            np.column_stack([chosen.filled, columns[best]]),
            np.column_stack([chosen.weights, weights[best]]),
        )
    return chosen


def _sample(task: RankingTask) -> RankingTask:
    rows = np.linspace(0, len(task.target) - 1, min(MOST, len(task.target))).astype(np.int64)
    return RankingTask(task.entity[rows], task.relation[rows], task.target[rows], task.known)


def filled(graph: Graph, groups: list[Group]) -> Float32:
    """Return [C, E]: 1 where train gives the entity as an answer in a slot of the group."""
    rows = both_directions(graph.train, graph.num_relations)
    columns = np.zeros((len(groups), graph.num_entities), np.float32)
    for place, group in enumerate(groups):
        columns[place, rows[np.isin(rows[:, 1], group), 2]] = 1
    return columns


def similar_slots(graph: Graph, count: int) -> list[Group]:
    """Return up to ``count`` groups of slots that the same entities fill (average linkage)."""
    rows = np.unique(both_directions(graph.train, graph.num_relations)[:, [1, 2]], axis=0)
    used, row = np.unique(rows[:, 0], return_inverse=True)
    if len(used) < 2:
        return []
    shape = len(used), graph.num_entities
    slots = csr_array((np.ones(len(rows)), (row, rows[:, 1])), shape=shape)
    size = np.sqrt(slots.sum(axis=1))
    distance = 1 - (slots @ slots.T).toarray() / np.outer(size, size)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.maximum(distance, 0), checks=False), "average")
    label = fcluster(tree, count, "maxclust")
    return [tuple(used[label == one].tolist()) for one in np.unique(label)]


def rank_gains(scores: Scores, valid: RankingTask, columns: Float32) -> Float64:
    """Gain of reciprocal rank [C, steps, Q] of each query by each slot and step.

    A step moves the candidates of a slot alike, so the better ones inside and outside of it are
    counted for all slots at once, as products with their columns, instead of ranking each anew.

    Args:
        scores: that are moved.
        valid: Q queries.
        columns: [C, E], 1 for the entities of a slot, else 0.
    """
    gains = np.empty((len(columns), len(STEPS), len(valid.target)))
    batch = max(1, _SCORES // columns.shape[1])
    for start in range(0, len(valid.target), batch):
        part = slice(start, start + batch)
        target = valid.target[part]
        found = _candidates(scores, valid, part)
        own = found[np.arange(len(target)), target][:, None]
        plain = _halves(found, own)
        every, inside = plain.sum(1), plain @ columns.T
        before = 2.0 / (1 + every.astype(np.float64))
        fills = columns[:, target].T > 0
        for at, step in enumerate(STEPS):
            moved, own_moved = found + np.float32(step), own + np.float32(step)
            beside = every[:, None] - inside + _halves(moved, own) @ columns.T
            stay = _halves(found, own_moved)
            among = stay.sum(1)[:, None] - stay @ columns.T + _halves(moved, own_moved) @ columns.T
            after = 2.0 / (1 + np.where(fills, among, beside).astype(np.float64))
            gains[:, at, part] = (after - before[:, None]).T
    return gains


def _candidates(scores: Scores, valid: RankingTask, part: slice) -> Floats:
    """Return scores [B, E] of which those of other known answers are NaN, so never counted."""
    entity, relation, target = valid.entity[part], valid.relation[part], valid.target[part]
    found = np.array(scores(entity, relation))
    offsets, rows = valid.known.of_many(entity, relation)
    owner = np.repeat(np.arange(len(target)), np.diff(offsets))
    others = rows != target[owner]
    found[owner[others], rows[others]] = np.nan
    return found


def _halves(scores: Floats, own: Floats) -> Float32:
    """Return 2 for each candidate that is better than ``own`` [B, 1], 1 for an equal one, else 0.

    The target is equal to itself, so a rank is (1 + their sum) / 2.
    """
    return np.add(scores > own, scores >= own, dtype=np.float32)


def _weights(gains: Float64, relation: Rows, rows: int) -> tuple[Float32, Float64]:
    """Weights [C, 2R], and their gain of MRR over all queries, [C]; 0 where it may be chance."""
    weights = np.zeros((len(gains), rows), np.float32)
    gained = np.zeros((len(gains), gains.shape[2]))
    for row in np.unique(relation):
        queries = np.flatnonzero(relation == row)
        if len(queries) < 2 * FEWEST:
            continue
        mine = gains[:, :, queries]
        lesser = np.minimum(mine[:, :, 0::2].mean(2), mine[:, :, 1::2].mean(2))
        lesser[mine.mean(2) <= _error(mine)] = 0
        for place, at in enumerate(lesser.argmax(1)):
            if lesser[place, at] > 0:
                weights[place, row] = STEPS[at]
                gained[place, queries] = mine[place, at]
    mean = gained.mean(1)
    return weights, np.where(mean > 2 * _error(gained), mean, 0)


def _error(gains: Float64) -> Float64:
    """Standard error of the mean over the last axis."""
    error: Float64 = gains.std(-1) / np.sqrt(gains.shape[-1])
    return error

"""Fit ``calibration.json`` on valid, and measure it on test.

A probability is fitted to the ten best candidates of each query of valid that are no known facts
(and, with less weight, to candidates down to the hundredth): which of them are facts of valid? A
plausibility is fitted to the triples of valid and to corrupted ones: the tail is replaced by
another tail that train gives the relation, facts are left out.

"Fact" means fact of the held-out split: on a graph with gaps some of the others are true as well.

Shape letters: n triples, Q queries, E entities, R relations, N items, B queries of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.evaluation.calibration import Calibration, Curves
from mulde.evaluation.metrics import RankingTask, Scores
from mulde.evaluation.reliability import auc, reliability
from mulde.graph.graph import Graph
from mulde.typing import Float64, Mask, Rows
from training.export.calibration.corruption import corrupt
from training.export.calibration.curves import Items, fit_curves
from training.export.served import Served

TOP = 10
DEEP = 100
_DEEP_WEIGHT = 0.3
_SCORES = 1 << 24


@dataclass(frozen=True)
class RankedQueries:
    """The best candidates of queries of a split that are not known from the other splits.

    Attributes:
        scores: [N], what they are ranked by.
        relation: [N], in [0, 2R).
        place: [N], from 0.
        true: [N], whether the split holds the fact.
    """

    scores: Float64
    relation: Rows
    place: Rows
    true: Mask


def calibrate(served: Served, graph: Graph, valid: RankingTask, seed: int = 0) -> Calibration:
    """Fit probabilities and plausibilities on the valid split."""
    curves, weights = fit_curves(observe_triples(served, graph, "valid", seed), graph.num_relations)
    return Calibration(
        new_facts=_fit_ranked(served.new_facts, served, valid),
        all_facts=_fit_ranked(served.all_facts, served, valid),
        triples=curves,
        bias_weights=tuple(weights.tolist()),
    )


def _fit_ranked(scores: Scores, served: Served, valid: RankingTask) -> Curves:
    ranked = observe_ranked(valid, scores, served.no_self_loops)
    weight = np.where(ranked.place < TOP, 1.0, _DEEP_WEIGHT)
    nothing = np.zeros((len(weight), 0))
    items = Items(ranked.scores[:, None], ranked.true, weight, ranked.relation, nothing)
    return fit_curves(items, len(served.no_self_loops))[0]


def observe_ranked(task: RankingTask, scores: Scores, no_self_loops: Mask) -> RankedQueries:
    """Return the best candidates of the distinct queries of a task; thinned after the tenth."""
    queries = np.stack([task.entity, task.relation], axis=1)
    unique, owner = np.unique(queries, axis=0, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    owner, target = owner[order], task.target[order]
    step = max(1, _SCORES // task.known.num_entities)
    parts = [
        _observe_batch(task, scores, unique[s : s + step], owner - s, target, no_self_loops)
        for s in range(0, len(unique), step)
    ]
    return RankedQueries(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _observe_batch(
    task: RankingTask,
    scores: Scores,
    queries: Rows,
    owner: Rows,
    target: Rows,
    no_self_loops: Mask,
) -> tuple[Float64, Rows, Rows, Mask]:
    """Those of some queries [B, 2]; ``owner`` is outside [0, B) for others' targets."""
    entity, relation = queries.T
    values = np.array(scores(entity, relation), dtype=np.float64)
    own = slice(*np.searchsorted(owner, [0, len(queries)]))
    held = np.zeros(values.shape, dtype=bool)
    held[owner[own], target[own]] = True
    offsets, known = task.known.of_many(entity, relation)
    rows = np.repeat(np.arange(len(queries)), np.diff(offsets))
    kept = held[rows, known]
    values[rows[~kept], known[~kept]] = -np.inf
    loops = np.flatnonzero(no_self_loops[relation])
    values[loops, entity[loops]] = -np.inf
    count = min(DEEP, values.shape[1])
    best = np.argpartition(values, -count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(values, best, axis=1), axis=1, kind="stable")
    places = np.concatenate([np.arange(min(TOP, count)), np.arange(TOP, count, DEEP // TOP)])
    best = np.take_along_axis(best, order, axis=1)[:, places]
    found, true = (np.take_along_axis(part, best, axis=1) for part in (values, held))
    finite = np.isfinite(found)
    of, place = (np.broadcast_to(a, found.shape) for a in (relation[:, None], places))
    return found[finite], of[finite], place[finite], true[finite]


def observe_triples(served: Served, graph: Graph, split: str, seed: int = 0) -> Items:
    """Return the triples of a split, and corrupted ones that weigh as much together."""
    facts = graph.split(split).astype(np.int64)
    wrong, owner = corrupt(graph, facts, np.random.default_rng(seed))
    every = np.concatenate([facts, wrong])
    share = 1 / np.bincount(owner, minlength=len(facts))[owner]
    tail_scores, head_scores, biases = served.triples(*every.T)
    return Items(
        np.column_stack([tail_scores, head_scores]),
        np.arange(len(every)) < len(facts),
        np.concatenate([np.ones(len(facts)), share]),
        every[:, 1],
        biases,
    )


def measure_calibration(
    calibration: Calibration, served: Served, graph: Graph, split: str, seed: int = 1
) -> dict[str, float]:
    """Return the expected calibration errors and AUC of a split, for the manifest's checks."""
    task, checks = RankingTask.of(graph, split), {}
    for name, scores in (("new_facts", served.new_facts), ("all_facts", served.all_facts)):
        ranked = observe_ranked(task, scores, served.no_self_loops)
        top = ranked.place < TOP
        found = calibration.probability(
            ranked.scores[top], ranked.relation[top], priors=name == "new_facts"
        )
        checks[f"calibration_error_{name}"] = reliability(found, ranked.true[top]).error
    items = observe_triples(served, graph, split, seed)
    found = calibration.plausibility(
        items.scores[:, 0], items.scores[:, 1], items.group, items.columns
    )
    checks["calibration_error_triples"] = reliability(found, items.true, items.weight).error
    checks["plausibility_auc"] = auc(found[items.true], found[~items.true])
    return checks

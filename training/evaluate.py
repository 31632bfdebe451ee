"""How a scorer takes part in the evaluation that mulde.evaluation.metrics defines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mulde.evaluation.metrics import RankingTask, Scores
from mulde.evaluation.self_loops import looping, loopless, without_loops
from mulde.graph.graph import Graph
from training.distillation.queries import both_directions
from training.distillation.senior import Senior
from training.export.calibration.train_priors import RelationPriors, choose_priors
from training.recipe import Recipe
from training.scorers import Scorer

VALIDATION_SCORES = 1 << 33
"""Most scores of a validation during training; a larger valid split is sampled."""


def self_loop_relations(graph: Graph, recipe: Recipe) -> tuple[int, ...] | None:
    """Return the relations that keep the query's entity among their answers; None: all."""
    least = recipe.self_loops_below
    return looping(graph.train, graph.num_relations, least) if least else None


def served_priors(
    scores: Scores,
    graph: Graph,
    recipe: Recipe,
    valid: RankingTask,
    report: Callable[[str], None] = lambda step: None,
) -> RelationPriors:
    """Choose the relation priors of a finished model's scores on valid, self-loops left out."""
    if not recipe.most_priors:
        return RelationPriors.none(graph.num_entities, graph.num_relations)
    mask = loopless(self_loop_relations(graph, recipe), graph.num_relations)
    return choose_priors(without_loops(scores, mask), graph, valid, recipe.most_priors, report)


def as_served(scorer: Scorer, graph: Graph, recipe: Recipe, valid: RankingTask) -> Scores:
    """Return the scores that a bundle ranks by: without self-loops, with relation priors."""
    priors = served_priors(scores_of(scorer), graph, recipe, valid)
    mask = loopless(self_loop_relations(graph, recipe), graph.num_relations)
    return without_loops(priors.added(scores_of(scorer)), mask)


def sampled(task: RankingTask, entities: int, most: int = VALIDATION_SCORES) -> RankingTask:
    """Return the task, or evenly spread triples of it whose queries need at most ``most`` scores.

    Both queries of a triple are kept or left out together.
    """
    triples = len(task.target) // 2
    kept = max(1, min(triples, most // (2 * entities)))
    if kept == triples:
        return task
    rows = np.linspace(0, triples - 1, kept).astype(np.int64)
    both = np.concatenate([rows, rows + triples])
    entity, relation, target = task.entity[both], task.relation[both], task.target[both]
    return RankingTask(entity, relation, target, task.known)


def half_width(ranks: NDArray[np.float64]) -> float:
    """Return half the 95 % confidence interval of the MRR of ranks of sampled queries."""
    return float(1.96 * np.std(1 / ranks) / np.sqrt(len(ranks)))


def scores_of(scorer: Scorer) -> Scores:
    """A scorer as a function of numpy rows: (entity [B], relation [B]) -> scores [B, E]."""
    device = next(scorer.parameters()).device

    @torch.inference_mode()
    def scores(entity: NDArray[np.int64], relation: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = (torch.from_numpy(array).to(device) for array in (entity, relation))
        found: NDArray[np.float32] = scorer.score_shared(scorer.query(*rows)).cpu().numpy()
        return found

    return scores


def scores_of_senior(
    senior: Senior, teachers: Sequence[Scorer], junior: Scorer, candidates: int, tau: float
) -> Scores:
    """What the Senior would answer itself: ``sum_i a_i s^_i`` for every entity.

    The attention a is that of training: over the Junior's own best K, at temperature tau.

    Args:
        senior: with the W that was trained.
        teachers: M, in the order of W's columns.
        junior: whose opinion the attention compares.
        candidates: K.
        tau: the attention temperature of the Junior's epoch.
    """

    @torch.inference_mode()
    def scores(entity: NDArray[np.int64], relation: NDArray[np.int64]) -> NDArray[np.float32]:
        asked = torch.from_numpy(entity), torch.from_numpy(relation)
        own, rows = junior.score_shared(junior.query(*asked)).topk(candidates)
        every = [teacher.score_shared(teacher.query(*asked)) for teacher in teachers]
        opinions = senior.scaled(torch.stack([one.gather(1, rows) for one in every], 1), asked[1])
        share = senior.contrast(opinions, own, tau) * senior.trust(asked[1])
        blended = torch.zeros_like(every[0])
        for one, part in zip(every, share.T, strict=True):
            blended.addcmul_(one, part.unsqueeze(-1))
        found: NDArray[np.float32] = blended.numpy()
        return found

    return scores


def popularity(graph: Graph, split: str) -> dict[str, dict[str, float]]:
    """Filtered quality of ranking candidates by how often the relation had them as its target.

    The score of t for (h, r, ?) is the number of training triples (., r, t), whatever h is.
    Entities that never were a target tie, and take the mean place of the tie.
    """
    rows = both_directions(graph.train, graph.num_relations)
    shape = (2 * graph.num_relations, graph.num_entities)
    ones = np.ones(len(rows), np.float32)
    counts = csr_array((ones, (rows[:, 1], rows[:, 2])), shape=shape)
    return RankingTask.of(graph, split).quality(lambda entity, relation: counts[relation].toarray())

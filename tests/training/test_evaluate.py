"""A scorer is measured by the one definition: equal to scoring triple after triple."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import SPLITS, Graph
from training.distillation.objective import Distilled
from training.distillation.queries import QuerySet
from training.evaluate import half_width, sampled, scores_of, scores_of_senior
from training.recipe import Distillation, ScorerSettings, Training
from training.scorers import Scorer
from training.train import new_scorer


@pytest.fixture(scope="module")
def scorer(graph: Graph) -> Scorer:
    return new_scorer(ScorerSettings("RefH", 4, spread=0.5), graph, seed=2)


def score(scorer: Scorer, entity: int, relation: int, target: int) -> float:
    """The score of one triple, along the path that training uses."""
    query = scorer.query(torch.tensor([entity]), torch.tensor([relation]))
    return float(scorer.score_pairs(query, torch.tensor([0]), torch.tensor([target])).detach())


def reciprocal_rank(
    scorer: Scorer, graph: Graph, query: tuple[int, int], target: int, known: set[int]
) -> float:
    own = score(scorer, *query, target)
    left = [score(scorer, *query, e) for e in range(graph.num_entities) if e not in known]
    return 1 / (1 + sum(other > own for other in left) + sum(other == own for other in left) / 2)


def test_mrr_equals_scoring_triple_after_triple_in_both_directions(
    graph: Graph, scorer: Scorer
) -> None:
    facts = [tuple(row) for name in SPLITS for row in graph.split(name).tolist()]
    forward, backward = [], []
    for head, relation, tail in graph.test.tolist():
        tails = {t for h, r, t in facts if (h, r) == (head, relation)}
        heads = {h for h, r, t in facts if (r, t) == (relation, tail)}
        forward.append(reciprocal_rank(scorer, graph, (head, relation), tail, tails))
        asked = (tail, relation + graph.num_relations)
        backward.append(reciprocal_rank(scorer, graph, asked, head, heads))
    found = RankingTask.of(graph, "test").quality(scores_of(scorer))
    assert found["tail"]["mrr"] == pytest.approx(np.mean(forward), abs=1e-6)
    assert found["head"]["mrr"] == pytest.approx(np.mean(backward), abs=1e-6)
    assert found["total"]["mrr"] == pytest.approx(np.mean(forward + backward), abs=1e-6)


def test_scores_are_numbers_without_gradients(graph: Graph, scorer: Scorer) -> None:
    scores = scores_of(scorer)(np.array([0, 5]), np.array([1, 6]))
    assert scores.shape == (2, graph.num_entities)
    assert scores.dtype == np.float32
    assert scores[1, 3] == pytest.approx(score(scorer, 5, 6, 3), abs=1e-5)


def test_the_senior_answers_with_what_training_calls_soft_labels(graph: Graph) -> None:
    """On the Junior's K candidates its scores are those of the distilling step itself."""
    made = [new_scorer(ScorerSettings("RotH", 4, spread=0.5), graph, seed) for seed in range(3)]
    junior, *teachers = made
    objective = Distilled(
        junior, Training(epochs=1), Distillation(candidates=5), teachers, Path("none")
    )
    with torch.no_grad():
        objective.senior.weight.normal_(generator=torch.Generator().manual_seed(1))
        queries = QuerySet.of(graph.train, graph.num_relations, graph.num_entities)
        batch = queries.batch(torch.tensor([0, 20, 90]))
        entity, relation, chosen = batch.entity, batch.relation, objective.chooser()(batch)
        rows, opinions = chosen.rows, chosen.opinions
        own = junior.score_own(junior.query(entity, relation), rows.long())
        expected = objective.senior(opinions, own, relation, 2.0)
    scores = scores_of_senior(objective.senior, teachers, junior, 5, 2.0)
    found = scores(entity.numpy(), relation.numpy())
    assert found.shape == (3, graph.num_entities)
    on_candidates = np.take_along_axis(found, rows.long().numpy(), 1)
    assert on_candidates == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_large_valid_split_is_sampled_by_triples_and_its_error_is_stated(graph: Graph) -> None:
    task = RankingTask.of(graph, "train")
    triples = len(graph.train)
    assert sampled(task, graph.num_entities) is task
    part = sampled(task, graph.num_entities, most=2 * 20 * graph.num_entities)
    assert len(part.target) == 40
    heads, tails = part.entity[:20].tolist(), part.target[:20].tolist()
    assert (part.target[20:].tolist(), part.entity[20:].tolist()) == (heads, tails)
    assert part.target[-1] == task.target[2 * triples - 1]
    assert half_width(np.array([1.0, 2.0] * 50)) == pytest.approx(1.96 * 0.25 / 10)

"""Calibration: what is observed, and that known chances are found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.facts.known_facts import KnownFacts
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import read_folder
from mulde.typing import Float64, Mask, Rows
from training.export.calibration.calibrate import observe_ranked
from training.export.calibration.corruption import corrupt
from training.export.calibration.curves import Items, fit_curves

ENTITIES, RELATIONS = 12, 1
EVERY = np.ones(2 * RELATIONS, dtype=bool)


def task(held: list[tuple[int, int, int]], known: list[tuple[int, int, int]]) -> RankingTask:
    head, relation, tail = np.array(held, dtype=np.int64).T
    return RankingTask(
        entity=np.concatenate([head, tail]),
        relation=np.concatenate([relation, relation + RELATIONS]),
        target=np.concatenate([tail, head]),
        known=KnownFacts.build(np.array(held + known), ENTITIES, RELATIONS),
    )


def ascending(entity: Rows, relation: Rows) -> Float64:
    """Entity i scores i, whatever is asked."""
    return np.tile(np.arange(ENTITIES, dtype=np.float64), (len(entity), 1))


def items(scores: Float64, true: Mask, group: Rows) -> Items:
    return Items(scores, true, np.ones(len(true)), group, np.zeros((len(true), 0)))


def test_the_ten_best_that_are_not_known_are_observed_once_per_query() -> None:
    held = [(0, 0, 11), (0, 0, 1), (0, 0, 9)]
    seen = observe_ranked(task(held, known=[(0, 0, 10)]), ascending, ~EVERY)
    tails = seen.relation == 0
    assert sorted(seen.scores[tails & (seen.place < 10)]) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]
    assert sorted(seen.scores[tails & seen.true]) == [1, 9, 11]


def test_the_query_s_entity_is_no_candidate_where_a_relation_has_no_self_loops() -> None:
    seen = observe_ranked(task([(8, 0, 11)], []), ascending, EVERY)
    assert 8 not in seen.scores[seen.relation == 0]


def test_curves_recover_known_chances() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(50_000, 1))
    chance = 1 / (1 + np.exp(-2 * scores[:, 0]))
    group = np.zeros(len(scores), dtype=np.int64)
    true = generator.random(len(scores)) < chance
    curves, _ = fit_curves(items(scores, true, group), 1)
    at = np.array([[-1.0], [0.0], [1.0]])
    found = curves.probabilities(curves.logits(at, np.zeros(3, dtype=np.int64)))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-2 * at[:, 0])), atol=0.02)


def test_a_relation_with_few_items_stays_near_the_curve_of_all() -> None:
    generator = np.random.default_rng(1)
    scores = generator.normal(size=(20_000, 1))
    group = np.repeat([0, 1, 2], [19_598, 400, 2])
    true = generator.random(20_000) < 1 / (1 + np.exp(-scores[:, 0]))
    true[group > 0] = False
    curves, _ = fit_curves(items(scores, true, group), 3)
    at, every = np.zeros((3, 1)), np.arange(3)
    large, many, few = curves.probabilities(curves.logits(at, every))
    assert large == pytest.approx(0.5, abs=0.03)
    assert many < 0.03
    assert many < few < 0.5


def test_a_column_gets_one_weight_for_all_relations() -> None:
    generator = np.random.default_rng(2)
    scores, column = generator.normal(size=(30_000, 1)), generator.normal(size=(30_000, 1)) + 5
    chance = 1 / (1 + np.exp(-(scores + 0.5 * (column - 5))[:, 0]))
    true = generator.random(30_000) < chance
    found = items(scores, true, np.zeros(30_000, dtype=np.int64))._replace(columns=column)
    _, weights = fit_curves(found, 1)
    assert weights[0] == pytest.approx(0.5, abs=0.05)


def test_corrupted_triples_are_no_facts_and_have_a_tail_of_their_relation(tmp_path: Path) -> None:
    lines = [f"a{i % 7}\tr{i % 2}\tb{i % 2}{i % 5}" for i in range(60)]
    for split in ("train", "valid", "test"):
        chosen = lines if split == "train" else lines[:3]
        (tmp_path / f"{split}.txt").write_text("".join(f"{line}\n" for line in chosen))
    graph = read_folder(tmp_path)
    facts = graph.train.astype(np.int64)
    wrong, owner = corrupt(graph, facts, np.random.default_rng(0))
    known = set(map(tuple, graph.all_triples.tolist()))
    assert not known.intersection(map(tuple, wrong.tolist()))
    assert (wrong[:, :2] == facts[owner][:, :2]).all()
    tails = {relation: set(facts[facts[:, 1] == relation, 2].tolist()) for relation in (0, 1)}
    assert all(tail in tails[relation] for _, relation, tail in wrong.tolist())

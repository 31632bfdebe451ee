"""Relation priors: which slots train fills, and the weights chosen on valid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mulde.evaluation.metrics import RankingTask, Scores
from mulde.graph.graph import Graph, read_folder
from mulde.typing import Float32, Rows, Triples
from training.export.calibration import train_priors
from training.export.calibration.train_priors import (
    FEWEST,
    STEPS,
    RelationPriors,
    choose_priors,
    filled,
    rank_gains,
    similar_slots,
)

NO_TRIPLES = np.zeros((0, 3), np.int32)
E, CHILDREN = 120, 100
"""Entities 0..99 are children, each with one parent among 100..119."""


def _graph(
    entities: int,
    relations: tuple[str, ...],
    train: Triples,
    valid: Triples,
    test: Triples = NO_TRIPLES,
) -> Graph:
    names = tuple(f"e{row:03d}" for row in range(entities))
    return Graph("made", names, relations, names, relations, train, valid, test, "0" * 64)


@pytest.fixture(scope="module")
def functional() -> Graph:
    """One relation, "has the parent", which each child has once; 60 in train, 20, 20."""
    generator = np.random.default_rng(0)
    parents = generator.integers(CHILDREN, E, CHILDREN)
    triples = np.stack([np.arange(CHILDREN), np.zeros(CHILDREN), parents], axis=1)
    triples = generator.permutation(triples).astype(np.int32)
    return _graph(E, ("parent",), triples[:60], triples[60:80], triples[80:])


def ignorant(entity: Rows, relation: Rows) -> Float32:
    """Scores that know children from parents and nothing else."""
    found = np.random.default_rng(1).normal(size=(len(entity), E)).astype(np.float32)
    is_child = np.arange(E) < CHILDREN
    found[(relation[:, None] == 1) != is_child] -= 9
    return found


def test_a_slot_is_filled_by_the_answers_of_train(functional: Graph) -> None:
    by_parent, by_child = filled(functional, [(0,), (1,)])
    assert set(np.flatnonzero(by_parent)) == set(functional.train[:, 2].tolist())
    assert set(np.flatnonzero(by_child)) == set(functional.train[:, 0].tolist())


def test_a_group_is_filled_by_the_answers_of_any_of_its_slots(functional: Graph) -> None:
    by_parent, by_child, by_any = filled(functional, [(0,), (1,), (0, 1)])
    np.testing.assert_array_equal(by_any, np.maximum(by_parent, by_child))


def test_slots_that_the_same_entities_fill_are_a_group(tmp_path: Path) -> None:
    lines = [f"n{i % 9}\t{relation}\tn{(i + 2) % 9}" for i in range(9) for relation in ("a", "b")]
    lines += [f"v{i % 9}\tc\tv{(i + 2) % 9}" for i in range(9)]
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines))
    graph = read_folder(tmp_path)
    nouns = {graph.relation_ids.index(name) for name in ("a", "b")}
    groups = [{row % 3 for row in group} for group in similar_slots(graph, 2)]
    assert sorted(groups, key=len) == [{graph.relation_ids.index("c")}, nouns]


def test_a_child_that_has_its_parent_is_no_answer_to_another(functional: Graph) -> None:
    valid = RankingTask.of(functional, "valid")
    chosen = choose_priors(ignorant, functional, valid, 1)
    assert chosen.slots == ((1,),)
    assert chosen.weights[1, 0] < -1
    test = RankingTask.of(functional, "test")
    before, after = (
        test.quality(scores)["head"]["mrr"] for scores in (ignorant, chosen.added(ignorant))
    )
    assert after > 1.5 * before


def test_scores_are_those_of_before_and_what_the_weights_say(functional: Graph) -> None:
    columns = filled(functional, [(1,), (0,)]).T
    weights = np.array([[0.0, 2.0], [-4.0, 0.5]], np.float32)
    chosen = RelationPriors(((1,), (0,)), columns, weights)
    entity, relation = np.array([3, 101, 7]), np.array([0, 1, 0])
    found = chosen.added(ignorant)(entity, relation)
    expected = ignorant(entity, relation)
    expected[[0, 2]] += 2 * columns[:, 1]
    expected[1] += 0.5 * columns[:, 1] - 4 * columns[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_slot_without_gain_is_not_chosen(functional: Graph) -> None:
    def knowing(entity: Rows, relation: Rows) -> Float32:
        found = ignorant(entity, relation)
        for head, _, tail in functional.all_triples.tolist():
            found[(entity == head) & (relation == 0), tail] = 100
            found[(entity == tail) & (relation == 1), head] = 100
        return found

    valid = RankingTask.of(functional, "valid")
    assert choose_priors(knowing, functional, valid, 2).slots == ()
    assert choose_priors(ignorant, functional, valid, 0).slots == ()


def test_no_more_slots_are_chosen_than_valid_asks_about(
    functional: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_priors, "LEAST", -1.0)
    valid = RankingTask.of(functional, "valid")
    assert sorted(choose_priors(ignorant, functional, valid, 64).slots) == [(0,), (1,)]


def test_too_few_queries_choose_no_slot(functional: Graph) -> None:
    few = replace(functional, valid=functional.valid[: 2 * FEWEST - 1])
    assert choose_priors(ignorant, few, RankingTask.of(few, "valid"), 1).slots == ()


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_ranking_every_moved_score_anew(seed: int) -> None:
    """Scores are whole numbers, so that moved ones meet; some are NaN, some facts are known."""
    generator = np.random.default_rng(seed)
    triples = np.unique(generator.integers(0, [40, 2, 40], (900, 3)).astype(np.int32), axis=0)
    triples = generator.permutation(triples)
    graph = _graph(40, ("r", "s"), triples[:600], triples[600:])
    valid = RankingTask.of(graph, "valid")
    table = generator.integers(-6, 6, (40, 4, 40)).astype(np.float32)
    table[generator.random(table.shape) < 0.05] = np.nan

    def scores(entity: Rows, relation: Rows) -> Float32:
        return table[entity, relation]

    columns = filled(graph, [(0,), (1,)])
    columns[:, generator.random(40) < 0.5] = 0
    found = rank_gains(scores, valid, columns)
    plain = 1 / valid.ranks(scores)
    for place, column in enumerate(columns):
        for at, step in enumerate(STEPS):
            moved = valid.ranks(_moved(table, np.float32(step) * column))
            np.testing.assert_allclose(found[place, at], 1 / moved - plain, atol=1e-12)


def _moved(table: Float32, by: Float32) -> Scores:
    return lambda entity, relation: table[entity, relation] + by


def test_zero_is_no_step() -> None:
    assert 0 not in STEPS


def _by_chance(seed: int) -> RelationPriors:
    """Priors of random scores on 400 random facts of train and 50 of valid."""
    generator = np.random.default_rng(seed)
    triples = generator.integers(0, [60, 2, 60], (450, 3)).astype(np.int32)
    table = generator.normal(size=(60, 4, 60)).astype(np.float32)
    graph = _graph(60, ("r", "s"), triples[:400], triples[400:])
    valid = RankingTask.of(graph, "valid")
    return choose_priors(lambda entity, relation: table[entity, relation], graph, valid, 2)


def test_few_priors_are_chosen_where_nothing_but_chance_decides() -> None:
    assert sum(len(_by_chance(seed).slots) for seed in range(8)) <= 6  # of 16

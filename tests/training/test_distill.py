"""Distillation: who is asked about what, what is learnt from it, and that teachers only answer."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mulde.graph.graph import Graph
from tests.support.runs import identical, recipe_of
from training.distillation.objective import Distilled, HardLabels
from training.distillation.queries import Batch, QuerySet
from training.recipe import Distillation, Training
from training.scorers import Scorer, build_scorer
from training.train import load_scorer, stages

TRAINING = Training(epochs=3, batch=32, negatives=16, rate=0.02)


@pytest.fixture
def teachers(graph: Graph, shelf: Path) -> list[Scorer]:
    """The two trained teachers, fresh from their checkpoints."""
    planned = stages(recipe_of(), shelf, shelf)
    paths = [stage.folder / "best.pt" for stage in planned if stage.name.startswith("teacher")]
    return [load_scorer(path, graph)[0] for path in paths]


@pytest.fixture
def queries(graph: Graph) -> QuerySet:
    return QuerySet.of(graph.train, graph.num_relations, graph.num_entities)


def new_junior(graph: Graph) -> Scorer:
    return build_scorer(
        "RotH",
        entities=graph.num_entities,
        relations=graph.num_relations,
        dimension=4,
        score="linear",
        spread=0.3,
        seed=3,
    )


def distilled(graph: Graph, teachers: list[Scorer], **settings: Any) -> Distilled:
    """An objective over a new Junior; K = 8 unless the settings say otherwise."""
    settings = {"candidates": 8, "gamma": 0.5, "attention_period": 2.0, **settings}
    return Distilled(new_junior(graph), TRAINING, Distillation(**settings), teachers)


def first_batch(queries: QuerySet, size: int = 20) -> Batch:
    return queries.batch(torch.arange(size))


def fit(objective: HardLabels, queries: QuerySet, epochs: int = 3) -> dict[str, Tensor]:
    """All weights after some epochs of the same batches and negatives."""
    weights = [*objective.scorer.parameters(), *objective.parameters()]
    optimiser = torch.optim.Adam([w for w in weights if w.requires_grad], lr=0.05)
    generator = torch.Generator().manual_seed(11)
    for epoch in range(epochs):
        objective.begin_epoch(epoch, queries)
        for index in torch.split(torch.arange(len(queries)), 40):
            loss, _ = objective(queries.batch(index), epoch, generator)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    own = {f"objective.{name}": value for name, value in objective.state_dict().items()}
    return {**objective.scorer.state_dict(), **own}


# Asking


def test_the_juniors_own_top_k_is_asked_and_the_target_is_not_forced_in(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective, batch = distilled(graph, teachers), first_batch(queries)
    rows, _ = objective.ask(batch.entity, batch.relation)
    scores = objective.scorer.score_shared(objective.scorer.query(batch.entity, batch.relation))
    best = scores.argsort(1, descending=True)[:, :8]
    assert torch.equal(rows.long().sort(1).values, best.sort(1).values)
    asked = (rows[batch.owner] == batch.target[:, None]).any(1)
    assert not bool(asked.all()), "an untrained Junior does not have every target in its top 8"


def test_the_teachers_mean_top_k_can_be_asked_instead(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective, batch = distilled(graph, teachers, choose="teachers"), first_batch(queries)
    rows, _ = objective.ask(batch.entity, batch.relation)
    asked = (batch.entity, batch.relation)
    mean = torch.stack([t.score_shared(t.query(*asked)) for t in teachers]).mean(0)
    best = mean.argsort(1, descending=True)[:, :8]
    assert torch.equal(rows.long().sort(1).values, best.sort(1).values)


def test_each_teacher_scores_exactly_those_candidates(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective, batch = distilled(graph, teachers), first_batch(queries)
    rows, opinions = objective.ask(batch.entity, batch.relation)
    assert opinions.shape == (20, len(teachers), 8)
    for place, teacher in enumerate(teachers):
        every = teacher.score_shared(teacher.query(batch.entity, batch.relation))
        expected = every.gather(1, rows.long())
        torch.testing.assert_close(opinions[:, place], expected, rtol=1e-4, atol=1e-4)


def test_more_candidates_than_entities_are_all_entities(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective, batch = distilled(graph, teachers, candidates=500), first_batch(queries)
    rows, _ = objective.ask(batch.entity, batch.relation)
    assert torch.equal(rows.long().sort(1).values, torch.arange(graph.num_entities).expand(20, -1))


def test_asking_for_all_at_once_is_asking_at_each_step_of_a_junior_that_stands_still(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    found = []
    for every in (0, 3):
        objective = distilled(graph, teachers, ask_every=every)
        objective.begin_epoch(0, queries)
        index = torch.tensor([5, 60, 2, 31])
        loss, _ = objective(queries.batch(index), 0, torch.Generator().manual_seed(1))
        weights = [*objective.scorer.parameters(), *objective.parameters()]
        found.append((loss, *torch.autograd.grad(loss, weights)))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_answers_are_kept_until_it_is_time_to_ask_again(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective = distilled(graph, teachers, ask_every=2, attention=False)

    def senior_part(epoch: int) -> float:
        """Depends on the Junior through the choice of candidates alone."""
        objective.begin_epoch(epoch, queries)
        _, parts = objective(first_batch(queries), epoch, torch.Generator().manual_seed(1))
        return float(parts["senior"])

    first = senior_part(0)
    with torch.no_grad():  # another top K
        objective.scorer.get_parameter("tail_bias").copy_(torch.arange(graph.num_entities) * 9.0)
    assert senior_part(1) == first
    assert senior_part(2) != first


# Learning


def test_teachers_never_change_and_get_no_gradient(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    before = [{n: v.clone() for n, v in teacher.state_dict().items()} for teacher in teachers]
    weights = fit(distilled(graph, teachers, detach=False), queries)
    assert not torch.equal(weights["objective.senior.weight"], torch.ones(8, 2)), "it did learn"
    for teacher, state in zip(teachers, before, strict=True):
        assert identical(dict(teacher.state_dict()), state)
        assert all(weight.grad is None for weight in teacher.parameters())
        assert not any(weight.requires_grad for weight in teacher.parameters())


def test_without_gamma_the_junior_learns_from_hard_labels_alone(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    taught = fit(distilled(graph, teachers, gamma=0.0), queries)
    alone = fit(HardLabels(new_junior(graph), TRAINING), queries)
    for name, value in alone.items():
        torch.testing.assert_close(taught[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_the_senior_learns_only_from_hard_labels_unless_labels_are_attached(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    found = []
    for gamma, detach in ((0.0, True), (0.5, True), (0.5, False)):
        objective = distilled(graph, teachers, gamma=gamma, detach=detach)
        loss, _ = objective(first_batch(queries), 0, torch.Generator().manual_seed(1))
        found.append(torch.autograd.grad(loss, objective.senior.weight)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[1], found[2])


def test_the_junior_learns_nothing_from_the_seniors_loss(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective = distilled(graph, teachers)
    batch = first_batch(queries)
    rows, opinions = objective.ask(batch.entity, batch.relation)
    query = objective.scorer.query(batch.entity, batch.relation)
    junior = objective.scorer.score_own(query, rows.long())
    assert junior.requires_grad
    objective.senior.requires_grad_(False)
    assert not objective.senior(opinions, junior, batch.relation, 1.0).requires_grad


def test_the_loss_is_hard_plus_senior_plus_gamma_times_soft(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective = distilled(graph, teachers, gamma=0.25)
    total, parts = objective(first_batch(queries), 0, torch.Generator().manual_seed(1))
    assert set(parts) == {"hard", "senior", "soft"}
    torch.testing.assert_close(total, parts["hard"] + parts["senior"] + 0.25 * parts["soft"])
    assert not any(part.requires_grad for part in parts.values())


@pytest.mark.parametrize(("labels", "share"), [("one-hot", 0.5), ("multi-hot", 1.0)])
def test_hard_labels_inside_the_candidates_by_hand(
    graph: Graph, teachers: list[Scorer], labels: str, share: float
) -> None:
    objective = distilled(graph, teachers, labels=labels)
    none, owner = torch.zeros(2, dtype=torch.int64), torch.tensor([0, 0, 1])
    batch = Batch(none, none, none, torch.tensor([2, 1]), owner, torch.tensor([7, 3, 9]))
    found = objective.labels(batch, torch.tensor([[3, 7, 9, 1], [3, 9, 0, 7]]))
    assert found.tolist() == [[share, share, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]


def test_hard_labels_of_one_batch_leave_no_trace_in_the_next(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    used, rows = distilled(graph, teachers), torch.arange(graph.num_entities).expand(9, -1)
    used.labels(first_batch(queries, 9), rows)
    later = queries.batch(torch.arange(9, 14))
    expected = distilled(graph, teachers).labels(later, rows[:5])
    assert torch.equal(used.labels(later, rows[:5]), expected)
    assert expected.sum() == 5


# Settings

CHANGES: dict[str, object] = {
    "candidates": 4,
    "gamma": 0.1,
    "temperature": 3.0,
    "scaling": False,
    "attention": False,
    "attention_period": 1.0,
    "choose": "teachers",
    "ask_every": 2,
    "labels": "multi-hot",
    "weight": "query",
    "soft_over": "unanswered",
    "detach": False,
}


def test_every_setting_of_a_distillation_is_tried_here() -> None:
    assert {item.name for item in fields(Distillation)} == set(CHANGES)


@pytest.mark.parametrize("setting", CHANGES)
def test_every_setting_of_a_distillation_changes_the_result(
    graph: Graph, teachers: list[Scorer], queries: QuerySet, setting: str
) -> None:
    base = fit(distilled(graph, teachers), queries)
    assert identical(base, fit(distilled(graph, teachers), queries)), "else nothing is shown"
    assert not identical(
        base, fit(distilled(graph, teachers, **{setting: CHANGES[setting]}), queries)
    )

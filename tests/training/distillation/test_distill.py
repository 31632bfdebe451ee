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
from training.distillation import candidates
from training.distillation.candidates import KeptCandidates
from training.distillation.objective import Distilled, HardLabels
from training.distillation.queries import Batch, CandidateScores, QuerySet, is_target
from training.recipe import Distillation, Training
from training.scorers import Scorer, build_scorer
from training.train import load_scorer, stages

TRAINING = Training(epochs=3, batch=32, negatives=16, rate=0.02)


@pytest.fixture
def teachers(graph: Graph, teacher_runs: Path) -> list[Scorer]:
    """The two trained teachers, fresh from their checkpoints."""
    planned = stages(recipe_of(), teacher_runs, teacher_runs)
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
    return Distilled(new_junior(graph), TRAINING, Distillation(**settings), teachers, Path("none"))


def first_batch(queries: QuerySet, size: int = 20) -> Batch:
    return queries.batch(torch.arange(size))


def forward(
    objective: HardLabels, batch: Batch, epoch: int = 0, seed: int = 1
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch and its parts, with negatives of a seed."""
    generator = torch.Generator().manual_seed(seed)
    shape = (objective.settings.negatives,)
    negatives = torch.randint(objective.scorer.num_entities, shape, generator=generator)
    found: tuple[torch.Tensor, dict[str, torch.Tensor]]
    found = objective(objective.step(batch, negatives), epoch)
    return found


def fit(objective: HardLabels, queries: QuerySet, epochs: int = 3) -> dict[str, Tensor]:
    """All weights after some epochs of the same batches and negatives."""
    weights = [weight for weight in objective.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=0.05)
    for epoch in range(epochs):
        objective.begin_epoch(epoch, queries)
        for index in torch.split(torch.arange(len(queries)), 40):
            loss, _ = forward(objective, queries.batch(index), epoch, epoch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return dict(objective.state_dict())


# Asking


def test_the_juniors_own_top_k_is_asked_and_the_target_is_not_forced_in(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective, batch = distilled(graph, teachers), first_batch(queries)
    rows = objective.chooser()(batch).rows
    scores = objective.scorer.score_shared(objective.scorer.query(batch.entity, batch.relation))
    best = scores.argsort(1, descending=True)[:, :8]
    assert torch.equal(rows.long().sort(1).values, best.sort(1).values)
    asked = (rows[batch.owner] == batch.target[:, None]).any(1)
    assert not bool(asked.all()), "an untrained Junior does not have every target in its top 8"


def test_the_teachers_mean_top_k_can_be_asked_instead(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective, batch = distilled(graph, teachers, choose="teachers"), first_batch(queries)
    rows = objective.chooser()(batch).rows
    asked = (batch.entity, batch.relation)
    mean = torch.stack([t.score_shared(t.query(*asked)) for t in teachers]).mean(0)
    best = mean.argsort(1, descending=True)[:, :8]
    assert torch.equal(rows.long().sort(1).values, best.sort(1).values)


def test_each_teacher_scores_exactly_those_candidates(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective, batch = distilled(graph, teachers), first_batch(queries)
    chosen = objective.chooser()(batch)
    rows, opinions = chosen.rows, chosen.opinions
    assert opinions.shape == (20, len(teachers), 8)
    for place, teacher in enumerate(teachers):
        every = teacher.score_shared(teacher.query(batch.entity, batch.relation))
        expected = every.gather(1, rows.long())
        torch.testing.assert_close(opinions[:, place], expected, rtol=1e-4, atol=1e-4)


def test_more_candidates_than_entities_are_all_entities(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective, batch = distilled(graph, teachers, candidates=500), first_batch(queries)
    rows = objective.chooser()(batch).rows
    assert torch.equal(rows.long().sort(1).values, torch.arange(graph.num_entities).expand(20, -1))


def test_asking_for_all_at_once_is_asking_at_each_step_of_a_junior_that_stands_still(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    found = []
    for every in (0, 3):
        objective = distilled(graph, teachers, ask_every=every)
        objective.begin_epoch(0, queries)
        index = torch.tensor([5, 60, 2, 31])
        loss, _ = forward(objective, queries.batch(index))
        found.append((loss, *torch.autograd.grad(loss, [*objective.parameters()])))
    torch.testing.assert_close(*found, rtol=1e-2, atol=1e-3)  # kept scores are in fp16


def test_answers_are_kept_until_it_is_time_to_ask_again(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective = distilled(graph, teachers, ask_every=2, attention=False)

    def senior_part(epoch: int) -> float:
        """Depends on the Junior through the choice of candidates alone."""
        objective.begin_epoch(epoch, queries)
        _, parts = forward(objective, first_batch(queries), epoch)
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
    assert not torch.equal(weights["senior.weight"], torch.ones(8, 2)), "it did learn"
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
        loss, _ = forward(objective, first_batch(queries))
        found.append(torch.autograd.grad(loss, objective.senior.weight)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[1], found[2])


def test_the_junior_learns_nothing_from_the_seniors_loss(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective = distilled(graph, teachers)
    batch = first_batch(queries)
    chosen = objective.chooser()(batch)
    rows, opinions = chosen.rows, chosen.opinions
    query = objective.scorer.query(batch.entity, batch.relation)
    junior = objective.scorer.score_own(query, rows.long())
    assert junior.requires_grad
    objective.senior.requires_grad_(False)
    assert not objective.senior(opinions, junior, batch.relation, 1.0).requires_grad


def test_the_loss_is_hard_plus_senior_plus_gamma_times_soft(
    graph: Graph, teachers: list[Scorer], queries: QuerySet
) -> None:
    objective = distilled(graph, teachers, gamma=0.25)
    total, parts = forward(objective, first_batch(queries))
    assert set(parts) == {"hard", "senior", "soft"}
    torch.testing.assert_close(total, parts["hard"] + parts["senior"] + 0.25 * parts["soft"])
    assert not any(part.requires_grad for part in parts.values())


@pytest.mark.parametrize(("labels", "share"), [("one-hot", 0.5), ("multi-hot", 1.0)])
def test_hard_labels_inside_the_candidates_by_hand(
    graph: Graph, teachers: list[Scorer], labels: str, share: float
) -> None:
    objective = distilled(graph, teachers, labels=labels)
    none, owner = torch.zeros(2, dtype=torch.int64), torch.tensor([0, 0, 1])
    batch = Batch(none, none, none, torch.tensor([2, 1]), owner, torch.tensor([3, 7, 9]))
    rows = torch.tensor([[3, 7, 9, 1], [3, 9, 0, 7]])
    answered = is_target(batch, rows, graph.num_entities)
    found = objective.labels(CandidateScores(rows, rows, answered), batch.count)
    assert found.tolist() == [[share, share, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]


def test_large_kept_candidates_lie_in_a_file_and_are_the_same(
    graph: Graph,
    teachers: list[Scorer],
    queries: QuerySet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, batch = distilled(graph, teachers), first_batch(queries)
    sizes = queries, objective.chooser(), 8, len(teachers), tmp_path
    in_memory = KeptCandidates(*sizes).of(batch.index)
    monkeypatch.setattr(candidates, "MEMORY_BYTES", 100)
    in_file = KeptCandidates(*sizes).of(batch.index)
    assert identical(vars(in_memory), vars(in_file))
    chosen = objective.chooser()(batch)
    assert torch.equal(in_file.rows, chosen.rows)
    assert torch.equal(in_file.answered, chosen.answered)
    torch.testing.assert_close(in_file.opinions, chosen.opinions, rtol=2e-3, atol=1e-3)


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

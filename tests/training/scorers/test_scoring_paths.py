"""Every way to score a query gives the same scores."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from tests.training.scorers.small_scorers import ALL, ENTITIES, Kind, batch_of, build, queries
from training.scorers import ScorerName


def test_every_scorer_is_tried_here() -> None:
    assert {name for name, _ in ALL} == set(get_args(ScorerName))


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_shared_candidates_score_as_among_all_entities(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    query, rows = scorer.query(*queries()), torch.tensor([4, 0, 4, 11])
    every = scorer.score_shared(query)
    assert every.shape == (5, ENTITIES)
    torch.testing.assert_close(scorer.score_shared(query, rows), every[:, rows])


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_scores_are_the_same_without_a_gradient_a_few_queries_at_a_time(
    name: ScorerName, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = build(name, kind)
    query = scorer.query(*queries())
    expected = scorer.score_shared(query)
    monkeypatch.setattr("training.scorers.base._CPU_SCORES", 2 * ENTITIES)
    with torch.no_grad():
        torch.testing.assert_close(scorer.score_shared(query), expected)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_own_candidates_score_as_among_all_entities(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    query = scorer.query(*queries())
    rows = torch.randint(ENTITIES, (5, 4), generator=torch.Generator().manual_seed(2))
    expected = scorer.score_shared(query).gather(1, rows)
    torch.testing.assert_close(scorer.score_own(query, rows), expected)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_pairs_score_as_among_all_entities(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    query = scorer.query(*queries())
    owner, rows = torch.tensor([0, 0, 2, 4]), torch.tensor([3, 0, 11, 5])
    expected = scorer.score_shared(query)[owner, rows]
    torch.testing.assert_close(scorer.score_pairs(query, owner, rows), expected)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_a_query_scores_the_same_alone_and_in_a_batch(name: ScorerName, kind: Kind) -> None:
    scorer, (entity, relation) = build(name, kind), queries()
    together = scorer.score_shared(scorer.query(entity, relation))
    alone = scorer.score_shared(scorer.query(entity[2:3], relation[2:3]))
    torch.testing.assert_close(alone[0], together[2])


@pytest.mark.parametrize("rows", [3, 50])
@pytest.mark.parametrize(("name", "kind"), ALL)
def test_few_and_many_own_candidates_score_alike(name: ScorerName, kind: Kind, rows: int) -> None:
    scorer = build(name, kind)
    query, generator = scorer.query(*queries()), torch.Generator().manual_seed(4)
    own = torch.randint(ENTITIES, (5, rows), generator=generator)
    found = scorer.score_own(query, own)
    torch.testing.assert_close(found, scorer.score_shared(query).gather(1, own))
    entity = scorer.get_parameter("entity")
    slopes = [
        torch.autograd.grad(scores.square().sum(), entity)[0]
        for scores in (found, scorer.score_shared(scorer.query(*queries())).gather(1, own))
    ]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_float32_scores_are_those_of_float64(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    exact = scorer.score_shared(scorer.query(*queries()))
    single = scorer.float()
    found = single.score_shared(single.query(*queries()))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_cross_entropy_and_its_gradient_are_torchs_own_over_single_triples(
    name: ScorerName, kind: Kind
) -> None:
    scorer, (entity, relation) = build(name, kind).float(), queries()
    batch = batch_of(entity, relation)
    query = scorer.query(entity, relation)
    expected = torch.nn.functional.cross_entropy(
        scorer.score_shared(query)[batch.owner], batch.target
    )
    found = scorer.cross_entropy(scorer.query(entity, relation), batch)
    torch.testing.assert_close(found, expected)
    weights = list(scorer.parameters())
    slopes = [
        torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        for loss in (found, expected)
    ]
    for left, right in zip(*slopes, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_cross_entropy_with_every_entity_drawn_once_is_that_over_all(
    name: ScorerName, kind: Kind
) -> None:
    scorer, (entity, relation) = build(name, kind).float(), queries()
    batch = batch_of(entity, relation)
    drawn = torch.randperm(scorer.num_entities, generator=torch.Generator().manual_seed(1))
    weights = list(scorer.parameters())
    losses = [
        scorer.cross_entropy(scorer.query(entity, relation), batch, drawn=d) for d in (None, drawn)
    ]
    torch.testing.assert_close(*losses)
    slopes = [torch.autograd.grad(loss, weights, allow_unused=True) for loss in losses]
    for whole, estimated in zip(*slopes, strict=True):
        if whole is not None and estimated is not None:
            estimated, whole = estimated.to_dense(), whole.to_dense()
        torch.testing.assert_close(estimated, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_a_frozen_scorer_scores_as_before_along_every_path(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    expected = scorer.score_shared(scorer.query(*queries())).detach()
    scorer.freeze()
    query = scorer.query(*queries())
    rows = torch.tensor([[0, 4], [3, 3], [1, 2], [11, 0], [5, 6]])
    own, owner = expected.gather(1, rows), torch.arange(5)
    torch.testing.assert_close(scorer.score_shared(query), expected)
    torch.testing.assert_close(scorer.score_shared(query, rows[:, 0]), expected[:, rows[:, 0]])
    torch.testing.assert_close(scorer.score_own(query, rows), own)
    torch.testing.assert_close(scorer.score_pairs(query, owner, rows[:, 1]), own[:, 1])
    assert not scorer.score_own(query, rows).requires_grad
    assert not any(parameter.requires_grad for parameter in scorer.parameters())


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_a_frozen_scorer_moves_as_a_whole(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    scorer.freeze()
    expected = scorer.score_shared(scorer.query(*queries()))
    names = set(scorer.state_dict())
    single = scorer.float()
    found = single.score_shared(single.query(*queries()))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert names == set(build(name, kind).state_dict()), "freezing adds nothing to a checkpoint"

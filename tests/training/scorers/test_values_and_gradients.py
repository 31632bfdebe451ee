"""Initial values are those of the recipe; scores and gradients stay finite."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from tests.training.scorers.small_scorers import (
    ALL,
    ENTITIES,
    FAMILIES,
    RELATIONS,
    Kind,
    build,
    fresh,
    queries,
)
from training.ops import hyperbolic
from training.scorers import ScorerName, build_scorer


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_equal_seeds_give_equal_values_and_others_give_others(name: ScorerName, kind: Kind) -> None:
    one, same, other = (build(name, kind, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.get_parameter("entity"), same.get_parameter("entity"))
    assert not torch.equal(one.get_parameter("entity"), other.get_parameter("entity"))


def test_spread_is_the_standard_deviation_of_the_initial_entities() -> None:
    scorer = build_scorer(
        "TransH", entities=2000, relations=1, dimension=8, score="linear", spread=0.05, seed=1
    )
    assert float(scorer.get_parameter("entity").detach().std()) == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize(("start", "deviation"), [("uniform", 3**-0.5), ("normal", 1e-3)])
def test_rotations_start_as_the_recipe_says(
    start: Literal["uniform", "normal"], deviation: float
) -> None:
    scorer = build_scorer(
        "RotH",
        entities=2,
        relations=500,
        dimension=8,
        score="distance",
        spread=1e-3,
        rotations=start,
        seed=1,
    )
    assert float(scorer.get_parameter("rotation").detach().std()) == pytest.approx(
        deviation, rel=0.03
    )


@pytest.mark.parametrize("spread", [1e-3, 20.0])
@pytest.mark.parametrize(("name", "kind"), FAMILIES)
def test_scores_and_gradients_are_finite_at_the_start_and_far_out(
    name: ScorerName, kind: Kind, spread: float
) -> None:
    scorer = fresh(name, kind, spread, seed=3)
    scores = scorer.score_shared(scorer.query(*queries()))
    assert bool(scores.isfinite().all())
    scores.mean().backward()
    for parameter, value in scorer.named_parameters():
        assert value.grad is not None, parameter
        assert bool(value.grad.isfinite().all()), parameter


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_every_parameter_moves_the_scores(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    entity = torch.arange(ENTITIES)
    relation = torch.arange(ENTITIES) % (2 * RELATIONS)
    scores = scorer.score_shared(scorer.query(entity, relation))
    weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(5)).double()
    (scores * weights).sum().backward()
    for parameter, value in scorer.named_parameters():
        assert value.grad is not None, parameter
        assert (
            float(value.grad.abs().reshape(len(value) if value.dim() else 1, -1).sum(1).min()) > 0
        )


def test_blocks_of_zeros_have_a_finite_gradient() -> None:
    blocks = torch.zeros(1, 4, requires_grad=True)
    hyperbolic.rotate(blocks, torch.ones(1, 4)).sum().backward()
    assert blocks.grad is not None
    assert bool(blocks.grad.isfinite().all())

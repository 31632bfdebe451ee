"""Steps by rows end where dense steps end, and a run may change from one to the other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.runs import CPU
from training.distillation.objective import Distilled, HardLabels
from training.distillation.queries import QuerySet
from training.optimiser import Optimiser, rates_of
from training.recipe import Distillation, Training
from training.scorers import ScorerName, build_scorer
from training.scorers.base import ScoreKind

E, R, N = 400, 3, 300
SETTINGS = Training(
    epochs=8, batch=10, negatives=5, rate=0.02, schedule="cosine", warmup=0.1, validate_every=2
)


def queries() -> QuerySet:
    """300 random triples: a step reads some 25 of 400 entities, so most wait for long."""
    triples = np.random.default_rng(0).integers(0, [E, R, E], (N, 3)).astype(np.int32)
    return QuerySet.of(triples, R, E)


def objective_of(name: ScorerName, settings: Training, folder: Path, taught: bool) -> HardLabels:
    score: ScoreKind = "bilinear" if name == "ComplEx" else "linear"
    sized = partial(build_scorer, entities=E, relations=R, dimension=8, score=score, spread=0.3)
    scorer = sized(name, seed=1)
    if not taught:
        return HardLabels(scorer, settings)
    teacher = sized(name, seed=2)
    distillation = Distillation(candidates=6, gamma=0.5, ask_every=2)
    return Distilled(scorer, settings, distillation, [teacher], folder)


def fit(optimiser: Optimiser, epochs: range) -> None:
    """Epochs with the same draws for every optimiser."""
    objective, asked = optimiser.objective, queries()
    for epoch in epochs:
        generator = torch.Generator().manual_seed(epoch)
        objective.begin_epoch(epoch, asked)
        order = torch.randperm(len(asked), generator=generator)
        for batch in asked.batches(order, SETTINGS.batch):
            negatives = torch.randint(E, (SETTINGS.negatives,), generator=generator)
            optimiser.take(objective.step(batch, negatives), epoch)
        optimiser.flush()


def weights(optimiser: Optimiser) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in optimiser.weights.values()])


@pytest.mark.parametrize("taught", [False, True], ids=["direct", "distilled"])
@pytest.mark.parametrize("name", ["RotH", "ComplEx"])
@pytest.mark.parametrize("rule", ["adam", "adagrad"])
def test_rows_are_updated_as_dense_steps_update_them(
    rule: str, name: ScorerName, taught: bool, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, optimiser=rule)  # type: ignore[arg-type]
    ends = []
    for by_rows in (False, True):
        optimiser = Optimiser(
            objective_of(name, settings, tmp_path, taught), settings, queries(), by_rows
        )
        start = weights(optimiser)
        fit(optimiser, range(8))
        ends.append(weights(optimiser))
    assert float((ends[0] - start).abs().mean()) > 0.01
    assert float((ends[0] - ends[1]).abs().max()) < 1e-3
    assert float((ends[0] - ends[1]).abs().mean()) < 1e-5


@pytest.mark.parametrize("rule", ["adam", "adagrad"])
@pytest.mark.parametrize("first", [False, True], ids=["dense then rows", "rows then dense"])
def test_a_state_by_rows_goes_on_in_dense_steps_and_the_other_way(
    first: bool, rule: str, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, optimiser=rule)  # type: ignore[arg-type]
    whole = Optimiser(objective_of("RotH", settings, tmp_path, False), settings, queries(), False)
    fit(whole, range(6))
    one = Optimiser(objective_of("RotH", settings, tmp_path, False), settings, queries(), first)
    fit(one, range(4))
    other = Optimiser(
        objective_of("RotH", settings, tmp_path, False), settings, queries(), not first
    )
    other.objective.load_state_dict(one.objective.state_dict())
    other.load(one.state())
    fit(other, range(4, 6))
    assert float((weights(whole) - weights(other)).abs().max()) < 1e-3


def test_a_step_by_rows_changes_no_other_row(tmp_path: Path) -> None:
    """A step of 10 queries and 5 negatives moves those rows, and no other before the flush."""
    objective, asked = objective_of("RotH", SETTINGS, tmp_path, False), queries()
    optimiser = Optimiser(objective, SETTINGS, asked, by_rows=True)
    before = objective.scorer.get_parameter("entity").detach().clone()
    step = objective.step(asked.batch(torch.arange(10)), torch.arange(5))
    optimiser.take(step, 0)
    moved = (
        (objective.scorer.get_parameter("entity").detach() != before).any(-1).nonzero().flatten()
    )
    assert set(moved.tolist()) <= set(step.rows().tolist())
    assert len(moved) > 5
    assert objective.scorer.spatial().device == CPU


def test_the_rate_follows_its_schedule() -> None:
    settings = Training(epochs=8, rate=0.1, schedule="cosine", warmup=0.25)
    expected = [0.0001, 0.05, 0.1, 0.0933, 0.075, 0.05, 0.025, 0.0067]
    assert rates_of(settings, 8) == pytest.approx(expected, abs=1e-4)
    constant = replace(settings, schedule="constant")
    assert rates_of(constant, 8) == pytest.approx([0.0001, 0.05, *[0.1] * 6], abs=1e-4)


@pytest.mark.parametrize(("entities", "others"), [(1_000, True), (200_000, False)])
def test_a_step_moves_every_entity_or_in_a_large_graph_the_rows_that_it_reads(
    entities: int, others: bool
) -> None:
    """Adam's momentum moves an entity after the step that read it; by rows it waits."""
    triples = np.random.default_rng(0).integers(0, [entities, R, entities], (N, 3))
    asked = QuerySet.of(triples.astype(np.int32), R, entities)
    scorer = build_scorer(
        "RotH", entities=entities, relations=R, dimension=4, score="linear", spread=0.3, seed=1
    )
    objective = HardLabels(scorer, SETTINGS)
    optimiser = Optimiser(objective, SETTINGS, asked)
    first, second = (
        objective.step(asked.batch(torch.tensor([place])), torch.tensor([place]))
        for place in (0, 9)
    )
    optimiser.take(first, 0)
    row = first.batch.entity[0]
    before = scorer.get_parameter("entity")[row].detach().clone()
    optimiser.take(second, 0)
    assert (not torch.equal(scorer.get_parameter("entity")[row].detach(), before)) == others

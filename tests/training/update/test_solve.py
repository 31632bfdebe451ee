"""Vectors of new entities: at the minimum of their objective, each by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from mulde.bundle.table.entity_table import Layout
from mulde.placement.solver import FrozenModel, place, query_mean
from mulde.typing import Float64
from training.update.solve import PULL, KnownQueries, solve

N, D = 5, 6


@pytest.fixture
def known() -> KnownQueries:
    draw = torch.Generator().manual_seed(0)
    table, queries = torch.randn(40, D, generator=draw), torch.randn(60, D, generator=draw)
    return KnownQueries(table.double(), torch.zeros(40).double(), queries.double(), 0.2)


@pytest.fixture
def facts() -> tuple[Tensor, Tensor, Tensor]:
    """Queries of 12 facts, whose they are, and a start for each entity."""
    draw = torch.Generator().manual_seed(1)
    owners = torch.tensor([0, 0, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4])
    queries = torch.randn(12, D, generator=draw).double()
    return queries, owners, torch.randn(N, D, generator=draw).double()


def objective(
    known: KnownQueries, facts: tuple[Tensor, Tensor, Tensor], point: Tensor, entity: int
) -> Tensor:
    """The formula of the module, for one entity."""
    queries, owners, start = facts
    own = queries[owners == entity]

    def level(asked: Tensor) -> Tensor:
        return torch.logsumexp(asked @ known.table.T + known.bias, 1)

    answers = softplus(level(own) - own @ point).sum()
    guard = known.weight * softplus(known.queries @ point - level(known.queries)).sum()
    return answers + guard + 0.5 * len(own) * (point - start[entity]).square().sum()


def test_the_gradient_is_zero_at_the_solved_vectors(
    known: KnownQueries, facts: tuple[Tensor, Tensor, Tensor]
) -> None:
    solved = solve(known, *facts)
    for entity in range(N):
        slopes = []
        for point in (facts[2][entity], solved[entity]):
            at = point.clone().requires_grad_()
            objective(known, facts, at, entity).backward()
            assert at.grad is not None
            slopes.append(float(at.grad.norm()))
        assert slopes[1] < 1e-4 * slopes[0]


def test_each_entity_is_solved_as_if_it_were_alone(
    known: KnownQueries, facts: tuple[Tensor, Tensor, Tensor]
) -> None:
    queries, owners, start = facts
    together = solve(known, queries, owners, start)
    for entity in range(N):
        own = queries[owners == entity]
        alone = solve(known, own, torch.zeros(len(own), dtype=torch.long), start[entity, None])
        torch.testing.assert_close(alone[0], together[entity])


def test_the_serving_solver_reaches_the_same_minimum(
    known: KnownQueries, facts: tuple[Tensor, Tensor, Tensor]
) -> None:
    """``mulde.placement``, in numpy, one entity at a time; no query reads the tail bias here."""
    queries, owners, _ = facts
    layout = Layout(D)

    def wide(vectors: Tensor) -> Float64:
        rows = np.zeros((len(vectors), layout.width + 1))
        rows[:, layout.spatial] = vectors.numpy()
        return rows

    guard_levels, levels = (known.levels(asked).numpy() for asked in (known.queries, queries))
    model = FrozenModel(layout, wide(known.queries), guard_levels, known.weight, PULL, 2.0, 0, 0)
    means = np.stack([query_mean(model, wide(queries[owners == one])) for one in range(N)])
    together = solve(known, queries, owners, torch.from_numpy(means))
    for one in range(N):
        own = owners == one
        placed = place(model, wide(queries[own]), levels[own.numpy()])
        started, least, served = (
            float(objective(known, (queries, owners, torch.from_numpy(means)), point, one))
            for point in (
                torch.from_numpy(means[one]),
                together[one],
                torch.from_numpy(placed.as_answer[layout.spatial]),
            )
        )
        assert least - 1e-6 <= served < least + 0.1 * (started - least)


def test_the_guard_keeps_a_new_entity_from_answering_known_queries(
    known: KnownQueries, facts: tuple[Tensor, Tensor, Tensor]
) -> None:
    guarded, free = (solve(replace(known, weight=w), *facts) for w in (5.0, 1e-9))
    assert (guarded @ known.queries.T).amax(1).mean() < (free @ known.queries.T).amax(1).mean()

"""Columns formed in one piece: equal to the composed operations, value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.ops import hyperbolic
from training.ops.entity_columns import entity_columns


def composed(tangent: Tensor, bias: Tensor, curvature: Tensor) -> Tensor:
    points = hyperbolic.expmap0(tangent, curvature)
    last = torch.stack([hyperbolic.excess(points), bias], -1)
    return torch.cat([points, last], -1)


def parameters(spread: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    tangent = torch.randn(9, 4, generator=draw, dtype=torch.double) * spread
    bias = torch.randn(9, generator=draw, dtype=torch.double)
    curvature = torch.tensor(1.3, dtype=torch.double)
    return tangent.requires_grad_(), bias.requires_grad_(), curvature.requires_grad_()


# From the origin, where both limits are reached, to beyond the largest radius.
@pytest.mark.parametrize("spread", [0.0, 1e-13, 1e-3, 0.3, 3.0])
def test_values_and_gradients_are_those_of_the_composed_operations(spread: float) -> None:
    given = parameters(spread)
    found, expected = entity_columns(*given), composed(*given)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).double()
    gradients = (torch.autograd.grad(one, given, weights) for one in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_the_gradients_are_those_of_finite_differences(spread: float) -> None:
    torch.autograd.gradcheck(entity_columns, parameters(spread))


def test_single_precision_keeps_the_excess_of_points_near_the_origin() -> None:
    tangent, bias, curvature = (p.detach() for p in parameters(1e-5))
    exact = entity_columns(tangent, bias, curvature)[:, -2]
    rounded = entity_columns(tangent.float(), bias.float(), curvature.float())[:, -2]
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-6, atol=0)

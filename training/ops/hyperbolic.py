"""Hyperbolic geometry on the unit hyperboloid, in coordinates that do not cancel near the origin.

A point of the ball of curvature -c is kept by the spatial part ``X`` [..., D] of its coordinates
on the unit hyperboloid; its time coordinate is ``sqrt(1 + |X|^2)``, of which only the excess over
1 is ever formed. A ball point x has ``X = 2 sqrt(c) x / (1 - c |x|^2)``. Distances in the ball
are distances here divided by sqrt(c). docs/explanation/architecture.md, "Coordinates", says why.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MAX_RADIUS = 8.0
"""Largest hyperbolic radius sqrt(c) d(0, x) that ``expmap0`` returns.

Beyond it the products of fp32 lose the order of neighbours (error 2e-4 at radius 4, 0.5 at 8 for
points 0.5 apart); trained models stay well inside."""

BALL_MARGIN = 4e-3
"""Distance to the edge of the unit ball that ``project`` keeps in fp32 (Chami et al. 2020)."""


def excess(spatial: Tensor) -> Tensor:
    """Time coordinate minus 1: ``|X|^2 / (1 + sqrt(1 + |X|^2))``; [..., D] -> [...]."""
    square = spatial.square().sum(-1)
    return square / (1 + torch.sqrt(1 + square))


def expmap0(tangent: Tensor, curvature: Tensor) -> Tensor:
    """exp0 of the ball, in spatial coordinates: ``sinh(2 sqrt(c) |v|) v / |v|``; [..., D].

    The ball's exp0(v) = tanh(sqrt(c)|v|) v / (sqrt(c)|v|) has hyperbolic radius
    2 sqrt(c) |v|, which is held at ``MAX_RADIUS``.
    """
    norm = torch.sqrt(tangent.square().sum(-1, keepdim=True) + 1e-24)
    radius = (2 * torch.sqrt(curvature) * norm).clamp_max(MAX_RADIUS)
    return torch.sinh(radius) / norm * tangent


def logmap0(spatial: Tensor, curvature: Tensor) -> Tensor:
    """Inverse of :func:`expmap0` inside ``MAX_RADIUS``: ``asinh(|X|) X / (2 sqrt(c) |X|)``."""
    norm = torch.sqrt(spatial.square().sum(-1, keepdim=True) + 1e-24)
    return torch.asinh(norm) / (2 * torch.sqrt(curvature) * norm) * spatial


def to_unit_ball(spatial: Tensor) -> Tensor:
    """``sqrt(c) x`` of the ball point x: ``X / (2 + excess)``; norm in [0, 1)."""
    return spatial / (2 + excess(spatial)).unsqueeze(-1)


def from_unit_ball(point: Tensor) -> Tensor:
    """Inverse of :func:`to_unit_ball`: ``2 p / (1 - |p|^2)``; |p| must be below 1."""
    return 2 * point / (1 - point.square().sum(-1, keepdim=True))


def project(point: Tensor) -> Tensor:
    """Pull points of norm above ``1 - BALL_MARGIN`` back to it."""
    norm = point.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    limit = 1 - BALL_MARGIN
    return torch.where(norm > limit, point / norm * limit, point)


def add(left: Tensor, right: Tensor) -> Tensor:
    """Moebius addition ``x (+) y`` as a Lorentz boost of Y by X; [..., D].

    ``Z = Y + X (Y0 + <X, Y> / (1 + X0))``: no denominator comes near 0, so it keeps its
    precision where the ball's formula loses it.

    Source: Ungar 2008, gyrovector addition is the boost of relativistic velocities.
    """
    inner = (left * right).sum(-1)
    factor = 1 + excess(right) + inner / (2 + excess(left))
    return right + left * factor.unsqueeze(-1)


def rotate(blocks: Tensor, point: Tensor) -> Tensor:
    """Block-diagonal Givens rotation ``(a x1 - b x2, b x1 + a x2)``; both [..., D], D even."""
    cos, sin = _unit_blocks(blocks)
    first, second = point.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([cos * first - sin * second, sin * first + cos * second], -1).flatten(-2)


def reflect(blocks: Tensor, point: Tensor) -> Tensor:
    """Block-diagonal Givens reflection ``(a x1 + b x2, b x1 - a x2)``; both [..., D], D even."""
    cos, sin = _unit_blocks(blocks)
    first, second = point.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([cos * first + sin * second, sin * first - cos * second], -1).flatten(-2)


def _unit_blocks(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Each pair of block parameters, scaled to length 1; a pair of zeros stays, with a gradient."""
    pairs = blocks.unflatten(-1, (-1, 2))
    norm = torch.sqrt(pairs.square().sum(-1, keepdim=True) + 1e-30)
    cos, sin = (pairs / norm).unbind(-1)
    return cos, sin


class SquaredAcosh1p(torch.autograd.Function):
    """``acosh(1 + u)^2`` for u >= 0, with its derivative saved instead of u.

    f'(u) = 2 acosh(1 + u) / sqrt(u (u + 2)), which tends to 2 at 0; autograd through acosh would
    give infinity times 0 there. A u below 0 is rounding and is taken as 0.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:  # noqa: D102
        u = u.clamp_min(1e-30)
        root = torch.sqrt(u * (u + 2))
        value = torch.log1p(u + root)
        ctx.save_for_backward(2 * value / root)
        return value.square_()

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:  # noqa: D102
        slope: Tensor = ctx.saved_tensors[0]
        return gradient[0] * slope


def squared_distance(u: Tensor) -> Tensor:
    """``d^2`` on the unit hyperboloid from ``u = cosh(d) - 1``."""
    result: Tensor = SquaredAcosh1p.apply(u)  # type: ignore[no-untyped-call]
    return result

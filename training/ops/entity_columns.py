"""What entities bring to a product of matrices, formed in one piece with its gradient.

Composed of single operations, the columns of a whole table take about twenty passes over it, each
with a temporary of its size; most of a step was that. Formed here they take two passes forward
and four back.

Shape letters: E entities, D dimension.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.ops.hyperbolic import MAX_RADIUS

TINY = 1e-24


def entity_columns(tangent: Tensor, bias: Tensor, curvature: Tensor) -> Tensor:
    """[E, D + 2]: ``Y = expmap0(v)``, its excess ``sqrt(1 + |Y|^2) - 1``, and the bias.

    The same functions as :func:`training.ops.hyperbolic.expmap0` and ``excess``, which are tested
    against it, value and gradient.

    Args:
        tangent: v [E, D].
        bias: [E].
        curvature: c > 0, a scalar.
    """
    result: Tensor = _Columns.apply(tangent, bias, curvature)  # type: ignore[no-untyped-call]
    return result


class _Columns(torch.autograd.Function):
    """``r = min(2 sqrt(c) |v|, MAX_RADIUS)``, ``f = sinh(r) / |v|``, ``Y = f v``."""

    @staticmethod
    def forward(ctx: Any, tangent: Tensor, bias: Tensor, curvature: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(tangent, dim=-1).square_().add_(TINY).sqrt_()
        free = 2 * torch.sqrt(curvature) * norm
        radius = free.clamp_max(MAX_RADIUS)
        factor = torch.sinh(radius) / norm
        square = (factor * norm).square_()
        result = tangent.new_empty((len(tangent), tangent.shape[1] + 2))
        torch.mul(tangent, factor.unsqueeze(-1), out=result[:, :-2])
        torch.div(square, 1 + torch.sqrt(1 + square), out=result[:, -2])
        result[:, -1] = bias
        ctx.save_for_backward(tangent, curvature, norm, factor, free <= MAX_RADIUS)
        return result

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tangent, curvature, norm, factor, free = ctx.saved_tensors
        points, excess, bias = gradient[0][:, :-2], gradient[0][:, -2], gradient[0][:, -1]
        sinh = factor * norm
        cosh = torch.sqrt(1 + sinh.square())
        through = excess * factor / cosh  # d excess = <Y, dY> / cosh r, and Y = f v
        along = (points * tangent).sum(-1) + through * norm.square()  # <dL/dY, v>
        widening = along * cosh * free  # dL/dr |v|, where the radius is not held
        slope = 2 * torch.sqrt(curvature)
        pull = through * factor + (slope * widening - along * factor) / norm.square()
        to_tangent = points * factor.unsqueeze(-1)
        to_tangent.addcmul_(tangent, pull.unsqueeze(-1))
        return to_tangent, bias, widening.sum() / torch.sqrt(curvature)

"""Geometry against high precision, near the origin and far out."""

from __future__ import annotations

import mpmath  # type: ignore[import-untyped]
import pytest
import torch

from training.ops import hyperbolic

RADII = [1e-6, 1e-3, 0.1, 1.0, 3.0, 6.0]


def points(radius: float, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Eight points of R^6 at hyperbolic ``radius``, on the unit hyperboloid."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    direction /= direction.norm(dim=-1, keepdim=True)
    return (direction * torch.sinh(torch.tensor(radius, dtype=torch.float64))).to(dtype)


def exact_distance(left: list[float], right: list[float]) -> mpmath.mpf:
    """Acosh of the Lorentz product with 60 digits."""
    with mpmath.workdps(60):
        x, y = ([mpmath.mpf(v) for v in row] for row in (left, right))
        time = [mpmath.sqrt(1 + mpmath.fsum(v * v for v in row)) for row in (x, y)]
        pairs = zip(x, y, strict=True)
        return mpmath.acosh(time[0] * time[1] - mpmath.fsum(a * b for a, b in pairs))


def u_of(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The formula of docs/explanation/architecture.md."""
    x, y = hyperbolic.excess(left), hyperbolic.excess(right)
    return x + (1 + x) * y - (left * right).sum(-1)


@pytest.mark.parametrize("radius", RADII)
def test_float64_distances_agree_with_mpmath(radius: float) -> None:
    left, right = points(radius, 1), points(radius / 2, 2)
    found = hyperbolic.squared_distance(u_of(left, right)).sqrt()
    for place in range(8):
        exact = exact_distance(left[place].tolist(), right[place].tolist())
        assert float(abs(found[place].item() - exact) / exact) < 1e-9


@pytest.mark.parametrize("radius", RADII[1:5])
def test_float32_distances_keep_three_digits_within_radius_3(radius: float) -> None:
    left, right = points(radius, 1), points(radius / 2, 2)
    exact = hyperbolic.squared_distance(u_of(left, right)).sqrt()
    found = hyperbolic.squared_distance(u_of(left.float(), right.float())).sqrt()
    torch.testing.assert_close(found.double(), exact, rtol=2e-3, atol=0)


def test_squared_distance_of_a_point_to_itself_has_a_finite_gradient() -> None:
    u = torch.zeros(3, requires_grad=True)
    hyperbolic.squared_distance(u).sum().backward()
    assert u.grad is not None
    torch.testing.assert_close(u.grad, torch.full((3,), 2.0), rtol=1e-3, atol=0)


def test_squared_distance_gradient_matches_finite_differences() -> None:
    u = torch.tensor([1e-3, 0.5, 10.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(hyperbolic.squared_distance, (u,))


def test_addition_is_the_moebius_addition_of_the_ball() -> None:
    left, right = points(1.2, 3), points(0.7, 4)
    x, y = hyperbolic.to_unit_ball(left), hyperbolic.to_unit_ball(right)
    inner, xx, yy = (x * y).sum(-1, True), (x * x).sum(-1, True), (y * y).sum(-1, True)
    moebius = ((1 + 2 * inner + yy) * x + (1 - xx) * y) / (1 + 2 * inner + xx * yy)
    torch.testing.assert_close(hyperbolic.to_unit_ball(hyperbolic.add(left, right)), moebius)


def test_adding_the_negative_returns_to_the_origin() -> None:
    point = points(2.0, 5)
    assert hyperbolic.add(-point, point).abs().max() < 1e-12


def test_expmap_lands_at_the_radius_of_the_balls_definition() -> None:
    curvature = torch.tensor(0.7, dtype=torch.float64)
    tangent = points(0.4, 6)
    norm = tangent.norm(dim=-1, keepdim=True)
    root = torch.sqrt(curvature)
    ball = torch.tanh(root * norm) * tangent / norm  # sqrt(c) exp0(v)
    found = hyperbolic.to_unit_ball(hyperbolic.expmap0(tangent, curvature))
    torch.testing.assert_close(found, ball)


def test_logmap_undoes_expmap() -> None:
    curvature = torch.tensor(1.3, dtype=torch.float64)
    tangent = points(0.4, 7)
    back = hyperbolic.logmap0(hyperbolic.expmap0(tangent, curvature), curvature)
    torch.testing.assert_close(back, tangent)


def test_expmap_bounds_the_radius() -> None:
    far = hyperbolic.expmap0(torch.full((1, 4), 1e3), torch.tensor(1.0))
    assert torch.asinh(far.norm()).item() == pytest.approx(hyperbolic.MAX_RADIUS, rel=1e-5)


def test_rotation_and_reflection_follow_their_blocks_and_keep_the_norm() -> None:
    blocks = torch.tensor([[3.0, 4.0]])  # a = 0.6, b = 0.8
    point = torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(hyperbolic.rotate(blocks, point), torch.tensor([[-1.0, 2.0]]))
    torch.testing.assert_close(hyperbolic.reflect(blocks, point), torch.tensor([[2.2, -0.4]]))


def test_projection_leaves_the_inside_alone_and_pulls_the_outside_back() -> None:
    inside, outside = torch.tensor([[0.3, 0.4]]), torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(hyperbolic.project(inside), inside)
    assert hyperbolic.project(outside).norm().item() == pytest.approx(1 - hyperbolic.BALL_MARGIN)

"""The geometry in float64 beside mpmath with 60 digits, at random points and at the extremes."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.torture.conftest import SEED
from training.ops import hyperbolic

Row = list[mpmath.mpf]
DIMENSION = 4
EXTREMES = [1e-300, 1e-160, 1e-30, 1e-8, 1e-4, 0.5, 1.0, 4.0, hyperbolic.MAX_RADIUS]
COUNTS = [100, pytest.param(20_000, marks=[pytest.mark.torture, pytest.mark.timeout(1800)])]


@pytest.fixture(params=COUNTS)
def radii(request: pytest.FixtureRequest) -> np.ndarray:
    """Every extreme, then radii from 1e-12 to the largest, each power of ten as often."""
    random = np.random.default_rng(SEED)
    ends = math.log(1e-12), math.log(hyperbolic.MAX_RADIUS)
    return np.concatenate([EXTREMES, np.exp(random.uniform(*ends, size=request.param))])


def points(radii: np.ndarray, seed: int) -> Tensor:
    """Points of the unit hyperboloid at these hyperbolic radii, in random directions."""
    random = np.random.default_rng([SEED, seed])
    direction = random.normal(size=(len(radii), DIMENSION))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return torch.from_numpy(direction * np.sinh(radii)[:, None])


def exact(rows: Tensor) -> list[Row]:
    return [[mpmath.mpf(value) for value in row] for row in rows.tolist()]


def square(row: Row) -> mpmath.mpf:
    return mpmath.fsum(value * value for value in row)


def excess(row: Row) -> mpmath.mpf:
    return square(row) / (1 + mpmath.sqrt(1 + square(row)))  # 60 digits do not hold 1 + 1e-320


def to_ball(row: Row) -> Row:
    return [value / (1 + mpmath.sqrt(1 + square(row))) for value in row]


def from_ball(row: Row) -> Row:
    return [2 * value / (1 - square(row)) for value in row]


def scaled(factor: Callable[[mpmath.mpf], mpmath.mpf]) -> Callable[[Row], Row]:
    """Another length in the same direction."""

    def change(row: Row) -> Row:
        norm = mpmath.sqrt(square(row))
        return [factor(norm) / norm * value if norm else value for value in row]

    return change


ONE = torch.tensor(1.0, dtype=torch.float64)
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Row], Row]]] = {
    "to_unit_ball": (hyperbolic.to_unit_ball, to_ball),
    "excess": (lambda x: hyperbolic.excess(x)[:, None], lambda row: [excess(row)]),
    "logmap0": (
        lambda x: hyperbolic.logmap0(x, ONE),
        scaled(lambda norm: mpmath.asinh(norm) / 2),
    ),
    "expmap0": (
        lambda x: hyperbolic.expmap0(hyperbolic.logmap0(x, ONE), ONE),
        lambda row: row,
    ),
    "from_unit_ball": (
        lambda x: hyperbolic.from_unit_ball(hyperbolic.to_unit_ball(x)),
        lambda row: row,
    ),
}
RELATIVE = {"expmap0": 1e-12, "from_unit_ball": 1e-11}
"""At radius 8 the ball's edge is 7e-4 away, and what is near it loses three digits more."""
SMALLEST = 1e-11
"""Norms below are held apart from 0 by 1e-12, and come out shorter."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_agrees_with_mpmath(name: str, radii: np.ndarray) -> None:
    compute, reference = FUNCTIONS[name]
    given = points(radii, 1)
    found = compute(given)
    assert found.isfinite().all()
    with mpmath.workdps(60):
        for row, result, radius in zip(exact(given), exact(found), radii, strict=True):
            wanted = reference(row)
            error = mpmath.sqrt(square([a - b for a, b in zip(result, wanted, strict=True)]))
            size = mpmath.sqrt(square(wanted))
            loose = 1.0 if radius < SMALLEST else RELATIVE.get(name, 1e-14)
            assert error <= loose * size + mpmath.mpf(5e-324), (name, radius)


def test_a_distance_agrees_with_mpmath(radii: np.ndarray) -> None:
    """Its error is what rounding the terms of u makes of it; near points of the edge lose most."""
    left, right = points(radii, 2), points(np.random.default_rng(SEED).permutation(radii), 3)
    x, y = hyperbolic.excess(left), hyperbolic.excess(right)
    u = x + (1 + x) * y - (left * right).sum(-1)
    terms = x + (1 + x) * y + (left * right).abs().sum(-1)
    found = hyperbolic.squared_distance(u)
    assert found.isfinite().all()
    with mpmath.workdps(60):
        for a, b, near, size, distance in zip(
            exact(left), exact(right), u.tolist(), terms.tolist(), found.tolist(), strict=True
        ):
            inner = mpmath.fsum(p * q for p, q in zip(a, b, strict=True))
            true_u = excess(a) + (1 + excess(a)) * excess(b) - inner
            assert abs(near - true_u) <= 8 * 2.0**-53 * size + 1e-320
            wanted = mpmath.acosh(1 + mpmath.mpf(max(near, 1e-30))) ** 2
            assert abs(distance - wanted) <= 1e-13 * wanted


def test_a_sum_is_that_of_the_ball(radii: np.ndarray) -> None:
    left, right = points(radii, 4), points(np.random.default_rng(SEED).permutation(radii), 5)
    found = hyperbolic.add(left, right)
    assert found.isfinite().all()
    with mpmath.workdps(60):
        for a, b, result in zip(exact(left), exact(right), exact(found), strict=True):
            wanted = from_ball(moebius(to_ball(a), to_ball(b)))
            error = mpmath.sqrt(square([p - q for p, q in zip(result, wanted, strict=True)]))
            reach = (1 + excess(a)) * (1 + excess(b)) - 1 + mpmath.sqrt(square(a) + square(b))
            assert error <= 8 * 2.0**-53 * reach + 1e-320


def moebius(x: Row, y: Row) -> Row:
    inner = mpmath.fsum(p * q for p, q in zip(x, y, strict=True))
    xx, yy = square(x), square(y)
    low = 1 + 2 * inner + xx * yy
    sums = zip(x, y, strict=True)
    return [((1 + 2 * inner + yy) * p + (1 - xx) * q) / low for p, q in sums]

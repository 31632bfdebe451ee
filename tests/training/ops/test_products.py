"""Products at chosen places: equal to the gathered ones, forward and back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.ops.sampled_matmul import gathered_products, sampled_products


def setup(rows_type: torch.dtype = torch.int64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    left = torch.randn(5, 6, generator=draw, dtype=torch.double, requires_grad=True)
    table = torch.randn(11, 6, generator=draw, dtype=torch.double, requires_grad=True)
    rows = torch.randint(11, (5, 9), generator=draw, dtype=rows_type)
    return left, table, rows, torch.randn(5, 9, generator=draw, dtype=torch.double)


def test_by_hand() -> None:
    left = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    rows = torch.tensor([[2, 0], [1, 1]])
    assert sampled_products(left, table, rows).tolist() == [[3.0, 1.0], [4.0, 4.0]]


@pytest.mark.parametrize("rows_type", [torch.int32, torch.int64])
def test_values_and_gradients_are_those_of_gathered_vectors(rows_type: torch.dtype) -> None:
    left, table, rows, weights = setup(rows_type)
    found, expected = (f(left, table, rows) for f in (sampled_products, gathered_products))
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(one, (left, table), weights) for one in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("candidates", [1, 11, 12, 40])
def test_there_may_be_fewer_or_more_candidates_than_entities(candidates: int) -> None:
    left, table, _, _ = setup()
    draw = torch.Generator().manual_seed(1)
    rows = torch.randint(11, (5, candidates), generator=draw)
    dense = left @ table.T
    torch.testing.assert_close(sampled_products(left, table, rows), dense.gather(1, rows))


def test_the_gradients_are_those_of_finite_differences() -> None:
    left, table, rows, _ = setup()
    torch.autograd.gradcheck(lambda a, b: sampled_products(a, b, rows), (left, table))


def test_a_candidate_that_is_named_twice_is_scored_twice_and_pulled_twice() -> None:
    left, table, _, _ = setup()
    rows = torch.full((5, 2), 3)
    products = sampled_products(left, table, rows)
    assert torch.equal(products[:, 0], products[:, 1])
    (gradient,) = torch.autograd.grad(products.sum(), table)
    torch.testing.assert_close(gradient[3], 2 * left.detach().sum(0))
    assert gradient[[row for row in range(11) if row != 3]].abs().max() == 0


def test_only_the_gradients_that_are_asked_for_are_formed() -> None:
    left, table, rows, _ = setup()
    sampled_products(left, table.detach(), rows).sum().backward()
    assert left.grad is not None
    assert table.grad is None

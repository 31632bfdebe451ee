"""The tiled cross entropy equals torch's own; the losses of MulDE by hand are in test_senior.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from training.distillation.losses import (
    LinearCrossEntropy,
    sampled_partition,
    senior_loss,
    soft_label_loss,
)
from training.distillation.queries import Batch, QuerySet

ENTITIES, DIMENSION = 40, 5


def batch_of(count: int, seed: int = 1) -> Batch:
    """``count`` distinct queries of which some have several targets."""
    generator = np.random.default_rng(seed)
    triples = generator.integers(0, [ENTITIES, 4, ENTITIES], (3 * count, 3)).astype(np.int32)
    queries = QuerySet.of(np.unique(triples, axis=0), 4, ENTITIES)
    return queries.batch(torch.arange(count))


def factors(count: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Queries [B, D] and table [E, D] in float64."""
    generator = torch.Generator().manual_seed(3)
    queries, table = (
        torch.randn(rows, DIMENSION, generator=generator, dtype=torch.float64) * scale
        for rows in (count, ENTITIES)
    )
    return queries.requires_grad_(), table.requires_grad_()


def tiled(
    queries: Tensor, table: Tensor, batch: Batch, products: torch.dtype | None = None
) -> Tensor:
    loss: Tensor = LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        queries, table, batch, products
    )
    return loss


@pytest.mark.parametrize("count", [1, 63, 64, 65, 150])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_tiles_give_the_loss_and_gradient_of_the_whole_matrix(count: int, scale: float) -> None:
    batch, (queries, table) = batch_of(count), factors(count, scale)
    assert count == 1 or int(batch.count.max()) > 1
    found = tiled(queries, table, batch)
    scores = (queries @ table.T)[batch.owner]
    expected = torch.nn.functional.cross_entropy(scores, batch.target)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(3 * loss, (queries, table)) for loss in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_the_gradient_matches_finite_differences() -> None:
    batch, (queries, table) = batch_of(4), factors(4)
    assert torch.autograd.gradcheck(lambda q, t: tiled(q, t, batch), (queries, table))


def test_products_in_bfloat16_give_nearly_the_loss_and_gradient_of_float64() -> None:
    """Relative errors: .0003 to .002 where scores span 10; the bounds leave a factor of four."""
    generator = torch.Generator().manual_seed(7)
    batch = batch_of(300)
    queries, table = (torch.randn(n, 64, generator=generator) * 0.5 for n in (300, ENTITIES))
    exact = queries.double().requires_grad_(), table.double().requires_grad_()
    rough = queries.requires_grad_(), table.requires_grad_()
    expected = tiled(exact[0], exact[1], batch)
    found = tiled(rough[0], rough[1], batch, torch.bfloat16)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)
    slopes = [torch.autograd.grad(loss, x) for loss, x in ((found, rough), (expected, exact))]
    for near, true in zip(*slopes, strict=True):
        assert near.dtype == torch.float32
        assert 0 < (near - true).norm() / true.norm() < 0.01


def test_scores_beyond_the_range_of_exp_do_not_overflow() -> None:
    batch, (queries, table) = batch_of(3), factors(3, 100.0)
    single = tiled(queries.detach().float().requires_grad_(), table.detach().float(), batch)
    torch.testing.assert_close(single.double(), tiled(queries, table, batch), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", ["soft", "senior"])
def test_a_weight_counts_a_query_that_often(kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    senior, junior = (torch.randn(3, 4, generator=generator) for _ in range(2))

    def loss(rows: list[int], weight: Tensor | None) -> Tensor:
        if kind == "soft":
            return soft_label_loss(senior[rows], junior[rows], 2.0, weight)
        return senior_loss(senior[rows], junior[rows].sigmoid(), weight)

    weighted = loss([0, 1, 2], torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(weighted, loss([0, 1, 1, 2, 2, 2], None))


def test_ignored_candidates_are_as_if_they_had_not_been_asked_about() -> None:
    generator = torch.Generator().manual_seed(5)
    senior, junior = torch.randn(2, 3, 6, generator=generator).unbind(0)
    ignored = torch.zeros(3, 6, dtype=torch.bool)
    ignored[:, [1, 4]] = True
    rest = [0, 2, 3, 5]
    found = soft_label_loss(senior, junior, 2.0, ignored=ignored)
    torch.testing.assert_close(found, soft_label_loss(senior[:, rest], junior[:, rest], 2.0))


def test_a_query_all_of_whose_candidates_are_ignored_adds_nothing() -> None:
    generator = torch.Generator().manual_seed(5)
    senior, junior = torch.randn(2, 2, 4, generator=generator).unbind(0)
    junior.requires_grad_()
    ignored = torch.tensor([[True] * 4, [False] * 4])
    loss = soft_label_loss(senior, junior, 1.0, ignored=ignored)
    torch.testing.assert_close(loss, soft_label_loss(senior[1:], junior[1:], 1.0) / 2)
    (gradient,) = torch.autograd.grad(loss, junior)
    assert gradient[0].abs().max() == 0
    assert gradient.isfinite().all()


def test_the_sampled_partition_is_the_whole_one_on_average() -> None:
    """E = 40; the batch has targets 3, 5, 5; 4,000 draws of 8 entities."""
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(40, generator=draw)
    owner, target = torch.tensor([0, 0, 1]), torch.tensor([5, 3, 5])
    batch = Batch(torch.arange(2), target[:2], target[:2], torch.tensor([2, 1]), owner, target)
    found = []
    for _ in range(4000):
        drawn = torch.randint(40, (8,), generator=draw)
        rows, offsets, renumbered = sampled_partition(batch, drawn, 40)
        assert rows[renumbered.target].tolist() == [5, 3, 5]
        assert offsets[renumbered.target].tolist() == [0, 0, 0]
        found.append((scores[rows] + offsets).exp().sum())
    estimate = torch.stack(found)
    error = estimate.std() / 4000**0.5
    assert abs(estimate.mean() - scores.exp().sum()) < 4 * error
    assert error < 0.01 * scores.exp().sum()

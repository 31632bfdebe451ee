"""Shared negatives: uniform, seeded, and known targets among them are found and left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.distillation.losses import binary_cross_entropy
from training.distillation.negatives import sample_shared, target_mask
from training.distillation.queries import Batch, QuerySet

triple = st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(0, 5))
rows = st.lists(st.integers(0, 5), min_size=1, max_size=12)


def batch_of(triples: list[tuple[int, int, int]]) -> Batch:
    queries = QuerySet.of(np.array(triples, dtype=np.int32), relations=2, entities=6)
    return queries.batch(torch.arange(len(queries)))


@given(st.lists(triple, min_size=1, max_size=12, unique=True), rows)
def test_the_target_mask_equals_a_loop(
    triples: list[tuple[int, int, int]], negatives: list[int]
) -> None:
    batch = batch_of(triples)
    targets: list[set[int]] = [set() for _ in batch.entity]
    for owner, target in zip(batch.owner.tolist(), batch.target.tolist(), strict=True):
        targets[owner].add(target)
    expected = [[row in own for row in negatives] for own in targets]
    assert target_mask(batch, torch.tensor(negatives)).tolist() == expected


def test_negatives_are_uniform_over_all_entities() -> None:
    found = sample_shared(10, 100_000, torch.Generator().manual_seed(1))
    counts = torch.bincount(found, minlength=10).double()
    chi_square = float(((counts - 10_000).square() / 10_000).sum())
    assert counts.numel() == 10
    assert chi_square < 27.88, "beyond the 99.9th percentile with 9 degrees of freedom"


def test_equal_seeds_draw_equal_negatives_and_a_generator_moves_on() -> None:
    one, two = (torch.Generator().manual_seed(5) for _ in range(2))
    first = sample_shared(1000, 20, one)
    assert torch.equal(first, sample_shared(1000, 20, two))
    assert not torch.equal(first, sample_shared(1000, 20, one))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_masked_negative_counts_as_if_it_had_not_been_drawn(temperature: float) -> None:
    batch = batch_of([(0, 0, 1)])
    positive = torch.tensor([0.3, 0.4])
    negative = torch.tensor([[0.5, 9.0, -0.2], [7.0, 0.1, 0.3]])
    mask = torch.tensor([[False, True, False], [True, False, False]])
    left = negative[~mask].reshape(2, 2)
    losses = [
        binary_cross_entropy(
            positive,
            scores,
            batch,
            negative_weight=1.5,
            adversarial_temperature=temperature,
            mask=chosen,
        )
        for scores, chosen in ((negative, mask), (left, None))
    ]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_query_whose_negatives_are_all_masked_has_the_positive_part_alone(
    temperature: float,
) -> None:
    batch = batch_of([(0, 0, 1)])
    negative = torch.tensor([[50.0], [50.0]], requires_grad=True)
    loss = binary_cross_entropy(
        torch.zeros(2),
        negative,
        batch,
        negative_weight=1.0,
        adversarial_temperature=temperature,
        mask=torch.tensor([[True], [True]]),
    )
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2) / 2)
    assert negative.grad is not None
    assert negative.grad.tolist() == [[0.0], [0.0]]

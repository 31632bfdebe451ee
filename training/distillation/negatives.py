"""Negative samples that a whole batch shares.

One set of N entities serves every query of a batch, so negatives are scored by one matrix product
instead of a gather of B x N vectors. Known targets of a query among them can be masked.

Shape letters: B queries, N negatives, P targets, E entities.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.distillation.queries import Batch


def sample_shared(entities: int, count: int, generator: torch.Generator) -> Tensor:
    """[N] uniform random rows, with repetition; on the generator's device."""
    return torch.randint(entities, (count,), generator=generator, device=generator.device)


def target_mask(batch: Batch, negatives: Tensor) -> Tensor:
    """[B, N] bool, true where one of the shared ``negatives`` [N] is a target of the query.

    Repetitions are found through the sorted negatives, so the cost is P log N, not B x N x P.
    """
    order = torch.argsort(negatives)
    ranked = negatives[order].contiguous()
    first = torch.searchsorted(ranked, batch.target, right=False)
    last = torch.searchsorted(ranked, batch.target, right=True)
    times = last - first
    owner = torch.repeat_interleave(batch.owner, times)
    before = torch.cumsum(times, 0) - times
    step = torch.arange(len(owner), device=owner.device)
    column = order[step - torch.repeat_interleave(before - first, times)]
    mask = torch.zeros(len(batch.entity), len(negatives), dtype=torch.bool, device=owner.device)
    mask[owner, column] = True
    return mask

"""One training on several processes: ``torchrun`` starts them, each takes its share of a batch.

Every process holds the whole model, draws the same order and the same negatives, and works on its
own queries of each batch. The losses of the shares add up to the loss of the batch, so the sum of
the gradients is the gradient that one process has, and all take the same step. In a single process
everything here does nothing.

Shape letters: B queries of a batch, Q all queries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch import distributed as dist

from mulde.errors import CheckpointError, ConfigError
from mulde.evaluation.metrics import RankingTask, Scores


@contextmanager
def started_by_torchrun(device: torch.device, jobs: int = 1) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did; gives the process' own device.

    They talk through gloo on CPUs and through nccl on GPUs.

    Args:
        device: what the person asked for.
        jobs: models that each process trains side by side.

    Raises:
        ConfigError: if this machine has fewer GPUs than processes, or ``jobs`` is not 1.
    """
    if not dist.is_torchelastic_launched():
        yield device
        return
    if jobs != 1:
        raise ConfigError("--jobs", "1 under torchrun, which trains a model on all processes", jobs)
    own = _own(device)
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield own
        # A process that ends while another still uses their connection can abort.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _own(device: torch.device) -> torch.device:
    if device.type != "cuda":
        return device
    number, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= found:
        raise ConfigError("torchrun --nproc-per-node", f"at most {found}, one per GPU", number + 1)
    own = torch.device("cuda", number)
    torch.cuda.set_device(own)
    return own


def place() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) without torchrun."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def leads() -> bool:
    """Whether this is the process that writes and reports."""
    return place()[0] == 0


def wait() -> None:
    """Until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


def described() -> str:
    """How many processes, to stand behind the words for the machine; empty for one."""
    _, processes = place()
    return f", {processes} processes" if processes > 1 else ""


def agree(checkpoint: Path, epoch: int) -> None:
    """Make sure that all processes go on from the same epoch, before any takes a step.

    Raises:
        CheckpointError: if they do not, since they do not all see the first process' files.
    """
    if not dist.is_initialized():
        return
    found: list[int | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, epoch)
    if len(set(found)) > 1:
        problem = f"is not the same file for all processes: they are at epochs {found}"
        raise CheckpointError(checkpoint, problem)


def sum_gradients(weights: Sequence[Tensor]) -> None:
    """Give all processes the sum of their gradients."""
    if not dist.is_initialized():
        return
    found = [weight.grad for weight in weights if weight.grad is not None]
    whole = torch.cat([gradient.flatten() for gradient in found])
    dist.all_reduce(whole)
    for gradient, summed in zip(found, whole.split([g.numel() for g in found]), strict=True):
        gradient.copy_(summed.view_as(gradient))


def summed(value: Tensor) -> Tensor:
    """The sum over all processes."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def own_part(count: int) -> tuple[int, int]:
    """Return the first row of this process' part of ``count`` rows, and the row after its last."""
    return _part(count, *place())


def _part(count: int, rank: int, processes: int) -> tuple[int, int]:
    return rank * count // processes, (rank + 1) * count // processes


def share_parts(rows: Tensor) -> None:
    """Fill in the other processes' parts of ``rows``, of which each has filled its own."""
    _, processes = place()
    for rank in range(processes if processes > 1 else 0):
        first, end = _part(len(rows), rank, processes)
        dist.broadcast(rows[first:end], rank)


def ranks(task: RankingTask, scores: Scores, device: torch.device) -> NDArray[np.float64]:
    """Return ``task.ranks(scores)``, each process ranking its share."""
    rank, processes = place()
    mine: NDArray[np.int64] = np.arange(rank, len(task.target), processes)
    part = replace(
        task, entity=task.entity[mine], relation=task.relation[mine], target=task.target[mine]
    )
    found = torch.zeros(len(task.target), dtype=torch.float64, device=device)
    found[torch.from_numpy(mine).to(device)] = torch.from_numpy(part.ranks(scores)).to(device)
    every: NDArray[np.float64] = summed(found).cpu().numpy()
    return every

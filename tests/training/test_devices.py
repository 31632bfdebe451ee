"""A training step leaves its device nowhere: no mixed devices, no wait of the host for the device.

Tensors on "meta", and fake tensors on "cuda", carry shape, type and device, and no values. An
operation that needs a value on the host, whose shape depends on values, or that mixes devices
raises. A build of torch without CUDA refuses to index fake tensors on "cuda"; there "meta" alone
stands for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from training.distillation.objective import Distilled, HardLabels
from training.distillation.queries import QuerySet
from training.recipe import Distillation, Training
from training.scorers import HYPERBOLIC, ScoreKind, Scorer, ScorerName, build_scorer

E, R, B = 50, 3, 16
KINDS: list[tuple[ScorerName, ScoreKind]] = [
    (name, kind)
    for name in get_args(ScorerName)
    for kind in get_args(ScoreKind)
    if (kind == "bilinear") != (name in HYPERBOLIC)
]
Make = Callable[[ScorerName, ScoreKind], HardLabels]


def scorer_of(name: ScorerName, score: ScoreKind, seed: int = 0) -> Scorer:
    return build_scorer(name, entities=E, relations=R, dimension=8, score=score, seed=seed)


def sampled(name: ScorerName, score: ScoreKind) -> HardLabels:
    settings = Training(1, B, negatives=7, penalty=0.1, adversarial_temperature=1.0)
    return HardLabels(scorer_of(name, score), settings)


def cross_entropy(name: ScorerName, score: ScoreKind) -> HardLabels:
    return HardLabels(
        scorer_of(name, score), Training(1, B, loss="cross-entropy", precision="bf16")
    )


def distilled(name: ScorerName, score: ScoreKind) -> HardLabels:
    settings = Distillation(candidates=9, soft_over="unanswered")
    junior, teacher = scorer_of(name, score), scorer_of(name, score, 1)
    return Distilled(junior, Training(1, B, negatives=7), settings, [teacher], Path("none"))


def by_teachers(name: ScorerName, score: ScoreKind) -> HardLabels:
    settings = Distillation(candidates=9, choose="teachers", labels="multi-hot", weight="query")
    junior, teacher = scorer_of(name, score), scorer_of(name, score, 1)
    return Distilled(junior, Training(1, B, negatives=7), settings, [teacher], Path("none"))


def moved(module: torch.nn.Module, device: str) -> None:
    """Give a module parameters and buffers on a device, without moving any values."""
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            empty = torch.empty(weight.shape, device=device)
            setattr(part, name, torch.nn.Parameter(empty, weight.requires_grad))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, torch.empty(buffer.shape, device=device))


def queries_on(device: str) -> QuerySet:
    """Queries on a device whose lengths stay on the host."""
    triples = np.random.default_rng(0).integers(0, [E, R, E], (80, 3)).astype(np.int32)
    real = QuerySet.of(triples, R, E)
    names = ("entity", "relation", "offsets", "target")
    parts = {
        name: torch.empty(getattr(real, name).shape, dtype=torch.int64, device=device)
        for name in names
    }
    return QuerySet(**parts, lengths=real.lengths)


def loss_on(device: str, objective: HardLabels) -> torch.Tensor:
    """The loss of one batch; all that is known on the host are its sizes."""
    moved(objective, device)
    for teacher in getattr(objective, "_teachers", []):
        moved(teacher, device)
    index = torch.empty(B, dtype=torch.int64, device=device)
    batch = queries_on(device).batch(index, targets=3 * B)
    negatives = torch.empty(7, dtype=torch.int64, device=device)
    loss: torch.Tensor
    loss, shares = objective(objective.step(batch, negatives), 0)
    assert {one.device.type for one in (loss, *shares.values())} == {device}
    return loss


@pytest.mark.skipif(torch.version.cuda is None, reason="needs a build of torch with CUDA")
@pytest.mark.parametrize("make", [sampled, cross_entropy, distilled, by_teachers])
@pytest.mark.parametrize(("name", "score"), KINDS)
def test_a_forward_pass_stays_on_the_gpu(name: ScorerName, score: ScoreKind, make: Make) -> None:
    objective = make(name, score)
    with FakeTensorMode(), torch.no_grad():
        loss_on("cuda", objective)


@pytest.mark.parametrize("make", [sampled, cross_entropy, distilled, by_teachers])
@pytest.mark.parametrize(("name", "score"), KINDS)
def test_a_step_stays_on_its_device(name: ScorerName, score: ScoreKind, make: Make) -> None:
    objective = make(name, score)
    loss_on("meta", objective).backward()
    gradients = [w.grad for w in objective.parameters() if w.grad is not None]
    assert gradients
    assert {gradient.device.type for gradient in gradients} == {"meta"}


@pytest.mark.parametrize(
    "wait",
    [
        lambda one: int(one.sum()),
        lambda one: one.tolist(),
        lambda one: one.nonzero(),
        lambda one: torch.repeat_interleave(one),
        lambda one: one + torch.zeros(4, dtype=torch.int64),
    ],
    ids=["item", "tolist", "nonzero", "repeats of unknown number", "mixed devices"],
)
def test_an_operation_that_waits_for_the_device_or_mixes_devices_raises(
    wait: Callable[[torch.Tensor], object],
) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        wait(torch.empty(4, dtype=torch.int64, device="meta"))

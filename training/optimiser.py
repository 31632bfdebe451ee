"""How fast a training learns: its optimiser, and the rate over the steps."""

from __future__ import annotations

import math

import torch

from training.recipe import Training


def build_optimiser(
    parameters: list[torch.nn.Parameter], settings: Training
) -> torch.optim.Optimizer:
    """The recipe's optimiser of these parameters, at its full rate."""
    if settings.optimiser == "adagrad":
        return torch.optim.Adagrad(parameters, lr=settings.rate)
    return torch.optim.Adam(parameters, lr=settings.rate, fused=True)


def rate_factor(done: float, settings: Training) -> float:
    """Share of the learning rate after the share ``done`` of all steps."""
    if done < settings.warmup:
        return max(done / settings.warmup, 1e-3)
    if settings.schedule == "constant":
        return 1.0
    rest = (done - settings.warmup) / (1 - settings.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))

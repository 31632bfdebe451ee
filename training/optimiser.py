"""The optimiser of a run: learning rates, dense steps, and steps on the rows that a batch reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from training import distributed as parallel
from training.distillation.objective import HardLabels
from training.distillation.queries import QuerySet, Step
from training.recipe import Training
from training.rows import RowAdagrad, RowAdam

_ROW_COST, _STEP_COST = 8, 32_000
"""A step by rows costs as much as a dense step of so many entities: per row read, and in all."""
TABLES = ("scorer.entity", "scorer.head_bias", "scorer.tail_bias")


def rates_of(settings: Training, steps: int) -> list[float]:
    """Return the learning rate of each of ``steps`` steps."""
    return [settings.rate * rate_factor(step / steps, settings) for step in range(steps)]


def rate_factor(done: float, settings: Training) -> float:
    """Return the share of the learning rate after the share ``done`` of all steps."""
    if done < settings.warmup:
        return max(done / settings.warmup, 1e-3)
    if settings.schedule == "constant":
        return 1.0
    rest = (done - settings.warmup) / (1 - settings.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))


class Optimiser:
    """Adam or Adagrad over all that an objective trains.

    On one CPU process, tables of entities are updated by rows where that is cheaper; the result is
    the dense optimiser's (``training.rows``). A GPU takes dense steps, whose shapes depend on no
    data.

    Args:
        objective: what is minimised.
        settings: the rule and its rates.
        queries: the training queries.
        by_rows: None chooses.
        per_epoch: how many queries an epoch takes; None for all.
    """

    def __init__(
        self,
        objective: HardLabels,
        settings: Training,
        queries: QuerySet,
        by_rows: bool | None = None,
        per_epoch: int | None = None,
    ) -> None:
        self.objective, self.done = objective, 0
        self._steps = math.ceil((per_epoch or len(queries)) / settings.batch) * settings.epochs
        self.rates = rates_of(settings, self._steps)
        self.weights = {n: p for n, p in objective.named_parameters() if p.requires_grad}
        if by_rows is None:
            by_rows = _reads_few_rows(objective, queries)
        tables = {name: self.weights[name] for name in TABLES if name in self.weights and by_rows}
        dense = [p for name, p in self.weights.items() if name not in tables]
        adam = settings.optimiser == "adam"
        self._rows = (RowAdam if adam else RowAdagrad)(tables, self.rates) if tables else None
        self._dense: torch.optim.Optimizer = (
            torch.optim.Adam(dense, lr=settings.rate, fused=True)
            if adam
            else torch.optim.Adagrad(dense, lr=settings.rate, fused=all(p.is_cpu for p in dense))
        )

    def take(self, step: Step, epoch: int) -> dict[str, Tensor]:
        """Take one step and return the parts of its loss, on the device."""
        self._dense.zero_grad()
        for group in self._dense.param_groups:
            group["lr"] = self.rates[self.done]
        if self._rows is None:
            loss, shares = self.objective(step, epoch)
            loss.backward()
        else:
            rows, numbers = torch.unique(step.rows(), return_inverse=True)
            read = self._rows.gather(rows)
            loss, shares = functional_call(self.objective, read, (step.renumbered(numbers), epoch))
            loss.backward()
            self._rows.update()
        parallel.sum_gradients([*self.weights.values()])
        self._dense.step()
        self.done += 1
        parts: dict[str, Tensor] = shares
        return parts

    def flush(self) -> None:
        """Bring all rows up to date, before weights are read otherwise than by a step."""
        if self._rows is not None:
            self._rows.flush()

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """Return the moments by the name of their parameter."""
        found: dict[str, dict[str, Tensor]] = {} if self._rows is None else self._rows.state()
        for name, weight in self.weights.items():
            if weight in self._dense.state:
                found[name] = self._dense.state[weight]
        return found

    def state(self) -> dict[str, Any]:
        """Return plain values and tensors; all rows must be up to date."""
        return {"done": self.done, "moments": self.moments()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, whether it was reached by rows or in dense steps."""
        self.done = state["done"]
        by_rows: Mapping[str, nn.Parameter] = {} if self._rows is None else self._rows.tables
        if self._rows is not None:
            self._rows.resume(self.done, state["moments"])
        for name, kept in state["moments"].items():
            if name in by_rows:
                continue
            weight = self.weights[name]
            moved = {kind: value.to(weight.device, copy=True) for kind, value in kept.items()}
            moved.setdefault("step", torch.tensor(float(self.done), device=weight.device))
            self._dense.state[weight] = moved


def _reads_few_rows(objective: HardLabels, queries: QuerySet) -> bool:
    targets = len(queries.target) / len(queries)
    alone = queries.entity.is_cpu and parallel.place()[1] == 1
    cost = _ROW_COST * objective.reads(targets) + _STEP_COST
    return alone and cost < objective.scorer.num_entities

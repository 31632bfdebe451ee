"""Adam and Adagrad on tables of entities, for steps that read few rows.

A step gathers the rows that it reads, updates them and puts them back, so its cost does not depend
on the number of entities. The result is that of the dense optimiser: Adagrad does not move a row
without a gradient; Adam does, by its momentum, and a row catches up on all steps that it missed
when it is read next. With ``m`` and ``v`` as of step a, the steps a + 1 .. b without gradient move
a row by

    sum_s r_s sqrt(1 - B2^s) / (1 - B1^s) p^(s - a) m / sqrt(v),    p = B1 / sqrt(B2)

where r_s is the rate of step s. Two entries of a table give the sum. Adam's epsilon is averaged
over these steps: where gradients are near 1e-8, and there alone, the result differs.

Shape letters: E entities, U distinct rows of a step, T steps in all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

BETA1, BETA2, ADAM_EPSILON, ADAGRAD_EPSILON = 0.9, 0.999, 1e-8, 1e-10
_RATIOS = (BETA1 / BETA2**0.5, BETA1 / BETA2)
_CHUNK = 1 << 16


class RowOptimiser(ABC):
    """Tables of entities with the optimiser's moments of each number.

    Args:
        tables: parameters [E] or [E, D] by name; W numbers an entity in all.
        rates: [T], the learning rate of each step.
    """

    kinds: tuple[str, ...]
    """The names of the moments."""

    def __init__(self, tables: Mapping[str, nn.Parameter], rates: Sequence[float]) -> None:
        self.tables, self.rates, self.done = dict(tables), rates, 0
        self._widths = [table[0].numel() for table in self.tables.values()]
        self.entities = len(next(iter(self.tables.values())))
        self._moments = torch.zeros(self.entities, len(self.kinds) * sum(self._widths))
        self._rows, self._now = torch.empty(0, dtype=torch.int64), list[Tensor]()
        self._read: dict[str, Tensor] = {}

    @torch.no_grad()
    def gather(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the values of distinct ``rows`` [U] as of now, to be read with gradients."""
        self._rows, self._now = rows, self._caught_up(rows)
        self._read = {
            name: part.clone().view(-1, *table.shape[1:]).requires_grad_()
            for (name, table), part in zip(
                self.tables.items(), self._now[0].split(self._widths, 1), strict=True
            )
        }
        return self._read

    @torch.no_grad()
    def update(self) -> None:
        """Take a step with the gradients of the rows that were gathered last."""
        self.done += 1
        gradient = torch.cat([_dense_gradient(leaf) for leaf in self._read.values()], 1)
        self._put(self._rows, self._moved(*self._now, gradient=gradient))

    @torch.no_grad()
    def flush(self) -> None:
        """Bring all rows up to date, as before a validation or a checkpoint."""
        for rows in torch.arange(self.entities).split(_CHUNK):
            self._put(rows, self._caught_up(rows))

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return the moments by table and kind, in the tables' shapes."""
        return {
            name: {kind: part.contiguous() for kind, part in parts.items()}
            for name, parts in self._by_name().items()
        }

    def resume(self, done: int, moments: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on after ``done`` steps, with all rows up to date."""
        self.done = done
        for name, parts in self._by_name().items():
            for kind, part in parts.items():
                part.copy_(moments[name][kind])

    def _by_name(self) -> dict[str, dict[str, Tensor]]:
        """Views of the moments: kinds lie side by side, and in each kind the tables."""
        parts = self._moments.split(self._widths * len(self.kinds), 1)
        number = len(self.tables)
        return {
            name: {
                kind: parts[place + number * at].view(table.shape)
                for at, kind in enumerate(self.kinds)
            }
            for place, (name, table) in enumerate(self.tables.items())
        }

    def _values(self, rows: Tensor) -> Tensor:
        """The tables' numbers [U, W]."""
        return torch.cat([t.data[rows].view(len(rows), -1) for t in self.tables.values()], 1)

    def _put(self, rows: Tensor, now: Sequence[Tensor]) -> None:
        """Write values and moments, [U, W] each."""
        for table, part in zip(self.tables.values(), now[0].split(self._widths, 1), strict=True):
            table.data[rows] = part.view(-1, *table.shape[1:])
        self._moments[rows] = torch.cat(list(now[1:]), 1)

    @abstractmethod
    def _caught_up(self, rows: Tensor) -> list[Tensor]:
        """Values and moments [U, W] of ``rows`` as of the last step."""

    @abstractmethod
    def _moved(self, *now: Tensor, gradient: Tensor) -> list[Tensor]:
        """Values and moments after step number ``done``."""


class RowAdagrad(RowOptimiser):
    """``s += g^2``, ``x -= r g / (sqrt(s) + epsilon)``: a row without gradient stays."""

    kinds = ("sum",)

    def _caught_up(self, rows: Tensor) -> list[Tensor]:
        return [self._values(rows), self._moments[rows]]

    def _moved(self, *now: Tensor, gradient: Tensor) -> list[Tensor]:
        value, total = now
        total.addcmul_(gradient, gradient)
        rate = self.rates[self.done - 1]
        return [value.addcdiv_(gradient, total.sqrt().add_(ADAGRAD_EPSILON), value=-rate), total]


class RowAdam(RowOptimiser):
    """Adam with its usual betas and epsilon."""

    kinds = ("exp_avg", "exp_avg_sq")

    def __init__(self, tables: Mapping[str, nn.Parameter], rates: Sequence[float]) -> None:
        super().__init__(tables, rates)
        self._last = torch.zeros(self.entities, dtype=torch.int64)
        self._reach = _reach(rates)

    def resume(self, done: int, moments: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on after ``done`` steps, with all rows up to date."""
        super().resume(done, moments)
        self._last.fill_(done)

    def _put(self, rows: Tensor, now: Sequence[Tensor]) -> None:
        super()._put(rows, now)
        self._last[rows] = self.done

    def _caught_up(self, rows: Tensor) -> list[Tensor]:
        value = self._values(rows)
        first, second = self._moments[rows].chunk(2, 1)
        last = self._last[rows]
        missed = (self.done - last).double()
        reach, weighed = (
            table[last] - ratio**missed * table[self.done]
            for table, ratio in zip(self._reach, _RATIOS, strict=True)
        )
        epsilon = ADAM_EPSILON * weighed / reach.clamp_min(1e-30)
        reach, epsilon, decay1, decay2 = (
            part.float().unsqueeze(1) for part in (reach, epsilon, BETA1**missed, BETA2**missed)
        )
        value -= reach * first / (second.sqrt() + epsilon).clamp_min_(1e-30)
        return [value, first * decay1, second * decay2]

    def _moved(self, *now: Tensor, gradient: Tensor) -> list[Tensor]:
        value, first, second = now
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        bias = (1 - BETA2**self.done) ** 0.5
        size = self.rates[self.done - 1] / (1 - BETA1**self.done)
        value.addcdiv_(first, (second.sqrt() / bias).add_(ADAM_EPSILON), value=-size)
        return [value, first, second]


def _dense_gradient(leaf: Tensor) -> Tensor:
    """[U, ..] as [U, W]."""
    gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    return (gradient.to_dense() if gradient.is_sparse else gradient).view(len(leaf), -1)


def _reach(rates: Sequence[float]) -> tuple[Tensor, Tensor]:
    """[T + 1] float64 each: entry t is the sum over s > t of step s' factor times p^(s - t).

    In the second, each term is also multiplied by ``sqrt(1 - B2^s) B2^(-(s - t) / 2)``, what stands
    before epsilon in it.
    """
    steps = torch.arange(1, len(rates) + 1, dtype=torch.float64)
    rate = torch.tensor(rates, dtype=torch.float64)
    bias = torch.sqrt(1 - BETA2**steps)
    factor = rate * bias / (1 - BETA1**steps)
    plain, weighed = (
        _summed(terms.tolist(), ratio)
        for terms, ratio in zip((factor, factor * bias), _RATIOS, strict=True)
    )
    return plain, weighed


def _summed(terms: Sequence[float], ratio: float) -> Tensor:
    found = [0.0]
    for one in reversed(terms):
        found.append(ratio * (one + found[-1]))
    return torch.tensor(found[::-1], dtype=torch.float64)

"""Fit the curves of ``mulde.evaluation.calibration``: a penalised logistic regression.

Relations with few items take the parameters of all relations (hierarchical ridge): the penalty is
on how far a relation's intercept and logarithms of slopes are from the common ones.

Shape letters: N items, G groups, F scores of an item, K ramps, C columns without a curve.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mulde.evaluation.calibration import KNOTS, Curves, ramps
from mulde.typing import Float64, Floats, Mask, Rows

_STEPS = 100
_INTERCEPT, _SCALE, _SHAPE = 0.3, 1.0, 3.0
"""Penalties of a group's intercept, of the factor of a score's slopes, and of single slopes."""
_SMOOTH, _SMALL = 0.5, 0.02
"""Penalties of the common slopes: of differences of neighbours, and of their logarithms."""
_AS_MANY = 20.0
"""Items that a group's centre and scale need to count as much as those of all groups."""
_DIGITS = 5


class Items(NamedTuple):
    """What curves are fitted to.

    Attributes:
        scores: [N, F].
        true: [N].
        weight: [N], above 0.
        group: [N], in [0, G).
        columns: [N, C], which enter the logit linearly, with the same weights in every group.
    """

    scores: Floats
    true: Mask
    weight: Float64
    group: Rows
    columns: Floats


class Parameters(NamedTuple):
    """Parameters of the logit; those of a group are differences from the common ones."""

    bias: Tensor  # []
    intercept: Tensor  # [G]
    slope: Tensor  # [F, K], logarithms
    scale: Tensor  # [G, F], logarithms
    shape: Tensor  # [G, F, K], logarithms
    linear: Tensor  # [C]

    @classmethod
    def start(cls, groups: int, scores: int, columns: int) -> Parameters:
        """A gentle rise, the same for all groups."""
        shapes = ((), (groups,), (scores, K), (groups, scores), (groups, scores, K), (columns,))
        parts = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
        parts[2] -= 1.0
        return cls(*(part.requires_grad_() for part in parts))

    def slopes(self) -> Tensor:
        """[G, F, K], above 0."""
        return torch.exp(self.slope + self.scale.unsqueeze(-1) + self.shape)

    def penalty(self) -> Tensor:
        """What keeps groups together and curves smooth."""
        groups = _INTERCEPT * self.intercept.square().sum() + _SCALE * self.scale.square().sum()
        bends = _SMOOTH * self.slope.diff(dim=1).square().sum()
        small = _SMALL * self.slope.square().sum()
        return groups + _SHAPE * self.shape.square().sum() + bends + small


K = len(KNOTS) + 1


def fit_curves(items: Items, groups: int) -> tuple[Curves, Float64]:
    """Return the curves of G groups, and the weights [C] of the linear columns."""
    centre, scale = _moments(items, groups)
    basis = ramps((items.scores - centre[items.group]) / scale[items.group])
    mean, spread = items.columns.mean(0), items.columns.std(0) + 1e-9
    linear = torch.from_numpy((items.columns - mean) / spread)
    rise, group = torch.from_numpy(basis), torch.from_numpy(items.group)
    true = torch.from_numpy(items.true.astype(np.float64))
    weight = torch.from_numpy(items.weight)
    parameters = Parameters.start(groups, basis.shape[1], linear.shape[1])
    optimiser = torch.optim.LBFGS(
        list(parameters), max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        optimiser.zero_grad()
        logits = parameters.bias + parameters.intercept[group] + linear @ parameters.linear
        logits = logits + (parameters.slopes()[group] * rise).sum((1, 2))
        losses = binary_cross_entropy_with_logits(logits, true, weight, reduction="sum")
        total = losses + parameters.penalty()
        total.backward()
        return total.item()

    optimiser.step(loss)
    weights = parameters.linear.detach().numpy() / spread
    intercept = (parameters.bias + parameters.intercept).detach().numpy() - weights @ mean
    floor = 0.5 / (items.true.sum() + 2)
    return _curves(intercept, centre, scale, parameters.slopes().detach().numpy(), floor), weights


def _moments(items: Items, groups: int) -> tuple[Float64, Float64]:
    """Centre and scale [G, F] of each group's scores, shrunk to those of all."""
    columns = [_moment(score, items.weight, items.group, groups) for score in items.scores.T]
    centre, scale = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
    return centre, scale


def _moment(score: Floats, weight: Float64, group: Rows, groups: int) -> tuple[Float64, Float64]:
    mean = np.average(score, weights=weight)
    variance = np.average(np.square(score - mean), weights=weight) + 1e-12
    count = np.bincount(group, weight, groups) + _AS_MANY
    centre = (np.bincount(group, weight * score, groups) + _AS_MANY * mean) / count
    square = np.bincount(group, weight * np.square(score - centre[group]), groups)
    return centre, np.sqrt((square + _AS_MANY * variance) / count)


def _curves(
    intercept: Float64, centre: Float64, scale: Float64, slope: Float64, floor: float
) -> Curves:
    """As they are written: with few digits."""
    a, b, c, d = (_rounded(part).tolist() for part in (intercept, centre, scale, slope))
    rows = (tuple(map(tuple, b)), tuple(map(tuple, c)))
    return Curves(tuple(a), *rows, tuple(tuple(map(tuple, one)) for one in d), float(floor))


def _rounded(values: Float64) -> Float64:
    """The same numbers with ``_DIGITS`` significant digits."""
    size = np.floor(np.log10(np.maximum(np.abs(values), 1e-30)))
    step = 10.0 ** (size - _DIGITS + 1)
    return np.round(values / step) * step

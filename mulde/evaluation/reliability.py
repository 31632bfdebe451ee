"""Whether probabilities hold: reliability diagrams, expected calibration error, AUC.

Shape letters: N items.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mulde.typing import Float64, Floats, Mask

BINS = 15
LEAST_IN_BIN = 50
"""Items. With fewer, a bin's share of true items is mostly chance."""


class Reliability(NamedTuple):
    """One row for each bin of a reliability diagram; bins hold equal weights of items.

    Attributes:
        predicted: mean probability.
        observed: share of true items.
        weight: share of all items.
    """

    predicted: Float64
    observed: Float64
    weight: Float64

    @property
    def error(self) -> float:
        """Expected calibration error: mean of |predicted - observed|, in [0, 1]."""
        return float(np.abs(self.predicted - self.observed) @ self.weight)


def reliability(
    probabilities: Floats, true: Mask, weight: Floats | None = None, bins: int = BINS
) -> Reliability:
    """Sort items by probability into bins and compare means.

    Args:
        probabilities: [N], at least one.
        true: [N].
        weight: [N]; None for equal weights.
        bins: at most; fewer where they would hold less than ``LEAST_IN_BIN`` items.
    """
    weight = np.ones(len(probabilities)) if weight is None else weight
    order = np.argsort(probabilities, kind="stable")
    count = int(np.clip(len(order) // LEAST_IN_BIN, 1, bins))
    place = _shares(probabilities[order], weight[order]) * count
    place = np.minimum(place.astype(np.int64), count - 1)
    columns = (weight, weight * probabilities, weight * true)
    total, predicted, observed = (np.bincount(place, c[order], count) for c in columns)
    kept = total > 0
    total, predicted, observed = total[kept], predicted[kept], observed[kept]
    return Reliability(predicted / total, observed / total, total / weight.sum())


def _shares(ascending: Floats, weight: Floats) -> Float64:
    """Share of the weight below each item, [N]; equal probabilities have the same."""
    below = np.concatenate([[0.0], np.cumsum(weight)])
    ends = (np.searchsorted(ascending, ascending, side) for side in ("left", "right"))
    found: Float64 = np.mean([below[end] for end in ends], axis=0) / below[-1]
    return found


def auc(true: Floats, false: Floats) -> float:
    """Chance that a true item is above a false one; ties count half; 0.5 without either.

    In a star all triples that could be false are facts.
    """
    if not len(true) or not len(false):
        return 0.5
    every = np.sort(np.concatenate([true, false]))
    ends = np.searchsorted(every, true, "right") + np.searchsorted(every, true, "left")
    ranks = (ends + 1) / 2
    wins = ranks.sum() - len(true) * (len(true) + 1) / 2
    return float(wins / (len(true) * len(false)))

"""Scores -> probabilities, fitted on the valid split.

What a probability means. Take a query (entity, relation, ?) of which some true answers are not
known yet, and the ten best candidates that are not known answers: of those with probability p, a
share p is true. "True" is measured as "a fact of the held-out split", so on a graph with gaps the
figure is a lower bound, and for a query that has no further true answers it is too high. The map
depends on the direction (tails or heads) and never falls with the score.

Shape letters: Q queries, K answers of each, E entities, n answers of all queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from mulde.evaluation.calibration import Calibration, Curve
from mulde.evaluation.metrics import RankingTask, Scores

TOP = 10
EVENT = (
    "a candidate among the ten best that are not known is a true answer, for a query that has true "
    "answers which are not known"
)

_BINS = 100
_FEWEST = 20
_ERROR_BINS = 20
_SCORES = 1 << 24


@dataclass(frozen=True)
class Outcomes:
    """Answers and whether they were true.

    Attributes:
        scores: [n].
        true: [n].
        far_score: score of a middling candidate, far below the answers.
        far_rate: share of true answers among the candidates below the answers.
    """

    scores: NDArray[np.float64]
    true: NDArray[np.bool_]
    far_score: float
    far_rate: float


def observe(task: RankingTask, scores: Scores, first: int, last: int) -> Outcomes:
    """The ten best answers of the distinct queries with relations in [first, last).

    Known facts are left out, as in a filtered rank, except those of the task's split.
    """
    chosen = (task.relation >= first) & (task.relation < last)
    queries = np.stack([task.entity, task.relation], axis=1)[chosen]
    unique, owner = np.unique(queries, axis=0, return_inverse=True)
    target = task.target[chosen]
    order = np.argsort(owner, kind="stable")
    owner, target = owner[order], target[order]
    step = max(1, _SCORES // task.known.num_entities)
    parts = [
        _observe_batch(task, scores, unique[start : start + step], owner - start, target)
        for start in range(0, len(unique), step)
    ]
    true = np.concatenate([part.true for part in parts])
    candidates = max(1, len(unique) * (task.known.num_entities - TOP))
    return Outcomes(
        np.concatenate([part.scores for part in parts]),
        true,
        float(np.median([part.far_score for part in parts])),
        (len(target) - int(true.sum())) / candidates,
    )


def _observe_batch(
    task: RankingTask,
    scores: Scores,
    queries: NDArray[np.int64],
    owner: NDArray[np.int64],
    target: NDArray[np.int64],
) -> Outcomes:
    """The answers of some queries [B, 2]; ``owner`` is outside [0, B) for others' targets."""
    values = np.array(scores(queries[:, 0], queries[:, 1]), dtype=np.float64)
    far = float(np.median(values))
    own = slice(*np.searchsorted(owner, [0, len(queries)]))
    owner, target = owner[own], target[own]
    held = np.zeros(values.shape, dtype=bool)
    held[owner, target] = True
    offsets, known = task.known.of_many(queries[:, 0], queries[:, 1])
    rows = np.repeat(np.arange(len(queries)), np.diff(offsets))
    kept = held[rows, known]
    values[rows[~kept], known[~kept]] = -np.inf
    count = min(TOP, values.shape[1])
    best = np.argpartition(values, -count, axis=1)[:, -count:]
    found = np.take_along_axis(values, best, axis=1)
    true = np.take_along_axis(held, best, axis=1)
    finite = np.isfinite(found)
    return Outcomes(found[finite], true[finite], far, 0.0)


def fit_curve(outcomes: Outcomes) -> Curve:
    """The monotone map that fits best: isotonic regression over bins of equally many answers.

    A last knot at a middling candidate's score keeps candidates far below the answers from
    inheriting the probability of the worst answers.
    """
    order = np.argsort(outcomes.scores, kind="stable")
    parts = np.array_split(order, min(_BINS, max(1, len(order) // _FEWEST)))
    score = np.array([outcomes.scores[part].mean() for part in parts])
    rate = np.array([outcomes.true[part].mean() for part in parts])
    weight = np.array([len(part) for part in parts])
    fitted = IsotonicRegression().fit(score, rate, weight).predict(score)
    if outcomes.far_score < score[0]:
        score = np.concatenate([[outcomes.far_score], score])
        fitted = np.concatenate([[min(outcomes.far_rate, fitted[0])], fitted])
    return _curve(score, fitted)


def _curve(scores: NDArray[np.float64], probabilities: NDArray[np.float64]) -> Curve:
    """A curve without the inner knots of level stretches and without repeated scores."""
    level = np.zeros(len(scores), dtype=bool)
    level[1:-1] = (probabilities[1:-1] == probabilities[:-2]) & (
        probabilities[1:-1] == probabilities[2:]
    )
    scores, probabilities = scores[~level], probabilities[~level]
    unique, last = np.unique(scores[::-1], return_index=True)
    kept = probabilities[::-1][last]
    return Curve(tuple(unique.tolist()), tuple(np.maximum.accumulate(kept).tolist()))


def calibration_error(curve: Curve, outcomes: Outcomes) -> float:
    """Expected calibration error: mean of |probability - share of true|, in [0, 1].

    Over 20 bins of equally many answers, ordered by probability.
    """
    probability = curve(outcomes.scores)
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(_ERROR_BINS, len(order)))
    gaps = [abs(float(np.mean(probability[p]) - np.mean(outcomes.true[p]))) for p in parts]
    return float(np.average(gaps, weights=[len(part) for part in parts]))


def calibrate(valid: RankingTask, test: RankingTask | None, scores: Scores) -> Calibration:
    """Fit both directions on the valid split and measure them on the test split.

    Args:
        valid: what is fitted.
        test: what the error is measured on; None leaves it out.
        scores: of the model as it is served.
    """
    relations = valid.known.num_relations
    ranges = {"tail": (0, relations), "head": (relations, 2 * relations)}
    curves = {name: fit_curve(observe(valid, scores, *part)) for name, part in ranges.items()}
    calibration = Calibration(curves["tail"], curves["head"], EVENT, {})
    if test is None:
        return calibration
    errors = {
        name: calibration_error(curves[name], observe(test, scores, *part))
        for name, part in ranges.items()
    }
    return replace(calibration, error=errors)

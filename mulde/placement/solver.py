"""Place an entity that the training never saw, from facts about it and a frozen model.

A fact (new, r, x), r in [0, 2R), is the query (x, r^-1, ?) that the new entity answers. The entity
gets two points (docs/explanation/new-entities.md):

    as a query    the direction of m, at the usual norm
    as an answer  z with tail bias b, the minimum of

        sum_i softplus(Z_i - s_i) + w sum_g softplus(s_g - Z_g) + pull n (|z - m|^2 + (b - b0)^2)

m, with b0, is the mean of trained rows, each as likely as the model takes it to be the entity:
w_e ~ exp(sum_i s_i(e) / sqrt(n)). Scores of a model that binary cross entropy trained are no such
probabilities; there m is the mean direction of the queries of its facts.

Here s_i is the score of (z, b) as an answer to query i and Z_i the query's log-partition over all
entities. The first sum is exactly what cross entropy over all entities charges for the n facts; a
model trained with binary cross entropy has Z = 0. The second sum is the guard: train queries g that
the new entity should not answer. Without it new entities are ranked before the right answers of
old queries.

One point for both would be worse: a point fitted as an answer is a poorer query
(benchmarks/unseen.md). Newton steps; the problem is convex where queries do not use the excess.

Shape letters: n facts of the entity, G guard queries, S trained rows, D dimension, W width of the
table. A wide query has W + 1 numbers: its vector without relation priors, and its offset. A wide
row has W + 1 numbers: without relation priors, and 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.bundle.table.entity_table import Layout, excess
from mulde.typing import Float64

_MOST_STEPS = 8
_ENOUGH = 1e-3
"""A step that lowers the objective by a smaller part than this is the last."""
_LEAST_CURVATURE = 1e-3
"""Queries with a smaller part of the largest curvature do not bend the objective."""


@dataclass(frozen=True)
class FrozenModel:
    """What all placements of one model share.

    Attributes:
        layout: columns of a row.
        guard: wide queries [G, W + 1] of the training.
        guard_levels: their log-partitions [G]; 0 after binary cross entropy.
        guard_weight: w, of one guard query.
        pull: strength of the way back to m, for each fact.
        norm: the mean Euclidean norm of the spatial numbers of a row.
        tail_bias, head_bias: the means of the table.
    """

    layout: Layout
    guard: Float64
    guard_levels: Float64
    guard_weight: float
    pull: float
    norm: float
    tail_bias: float
    head_bias: float


@dataclass(frozen=True)
class Placement:
    """The two rows of a placed entity.

    Attributes:
        as_query: [W], what the encoder takes as the head of its queries.
        as_answer: [W], what is scored as a candidate.
    """

    as_query: Float64
    as_answer: Float64


def place(
    model: FrozenModel, queries: Float64, levels: Float64, mean: Float64 | None = None
) -> Placement:
    """Place an entity that answers some queries.

    Args:
        model: frozen.
        queries: wide queries [n, W + 1] of (neighbour, relation^-1, ?), n at least 1.
        levels: their log-partitions [n]; 0 after binary cross entropy.
        mean: m and b0, [D + 1] (``likely_mean``); None: the query mean.
    """
    if mean is None:
        mean = np.append(query_mean(model, queries), model.tail_bias)
    point = _solve(model, queries, levels, mean)
    return Placement(query_row(model, mean[:-1]), row_of(model, point[:-1], float(point[-1])))


def likely_mean(model: FrozenModel, queries: Float64, rows: Float64, counts: Float64) -> Float64:
    """Return the mean [D + 1] of trained rows, spatial numbers and tail bias, as likely as each is.

    sum_e c_e w_e (row_e, bias_e) with w_e ~ exp(sum_i s_i(e) / sqrt(n)): a product of n
    probabilities would count what the facts have in common n times.

    Args:
        model: frozen.
        queries: wide queries [n, W + 1].
        rows: wide rows [S, W + 1].
        counts: c, [S], how many trained rows each stands for.
    """
    evidence = (rows @ queries.sum(axis=0)) / np.sqrt(len(queries)) + np.log(counts)
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    biases = rows[:, model.layout.tail_bias].sum(axis=1)
    return np.append(weights @ rows[:, model.layout.spatial], weights @ biases)


def query_mean(model: FrozenModel, queries: Float64) -> Float64:
    """Return the mean direction [D] of wide queries [n, W + 1], at the table's mean norm."""
    spatial = queries[:, model.layout.spatial]
    lengths = np.linalg.norm(spatial, axis=1, keepdims=True)
    mean: Float64 = (spatial / np.maximum(lengths, 1e-12)).mean(axis=0)
    return _at_norm(model, mean)


def query_row(model: FrozenModel, mean: Float64) -> Float64:
    """Return the row [W] that asks for an entity with a mean [D]."""
    return row_of(model, _at_norm(model, mean), model.tail_bias)


def _at_norm(model: FrozenModel, spatial: Float64) -> Float64:
    return spatial * (model.norm / max(float(np.linalg.norm(spatial)), 1e-12))


def row_of(model: FrozenModel, spatial: Float64, tail_bias: float) -> Float64:
    """Return the row [W] of spatial numbers [D] and a tail bias, with the mean head bias."""
    layout, row = model.layout, np.zeros(model.layout.width)
    row[layout.spatial] = spatial
    row[layout.excess.start] = excess(spatial)
    row[layout.tail_bias.start], row[layout.head_bias.start] = tail_bias, model.head_bias
    return row


def _solve(model: FrozenModel, queries: Float64, levels: Float64, start: Float64) -> Float64:
    """Return the point [D + 1], spatial numbers and tail bias, after damped Newton steps."""
    objective = _Objective(model, queries, levels, start)
    point, damping = start, 1e-4
    loss, gradient, hessian = objective.at(point)
    for _ in range(_MOST_STEPS):
        ridge = damping * hessian.trace() / len(point) * np.eye(len(point))
        tried = point - np.linalg.solve(hessian + ridge, gradient)
        found = objective.at(tried)
        if not found[0] < loss:
            damping = max(1e-2, 10 * damping)
            continue
        gain, point = loss - found[0], tried
        loss, gradient, hessian = found
        damping *= 0.1
        if gain < _ENOUGH * loss:
            break
    return point


class _Objective:
    """The objective of one entity, with its gradient and a positive definite matrix."""

    def __init__(
        self, model: FrozenModel, queries: Float64, levels: Float64, start: Float64
    ) -> None:
        layout, count = model.layout, len(queries)
        every = np.concatenate([queries, model.guard])
        self._spatial = every[:, layout.spatial]
        self._curved = every[:, layout.excess.start]
        self._fixed = every[:, -1] - np.concatenate([levels, model.guard_levels])
        self._signs = np.ones(len(every))
        self._signs[:count] = -1.0
        self._weights = np.full(len(every), model.guard_weight)
        self._weights[:count] = 1.0
        self._start, self._pull = start, np.full(len(start), model.pull * count)

    def at(self, point: Float64) -> tuple[float, Float64, Float64]:
        """Return the value, the gradient [D + 1] and the matrix [D + 1, D + 1] at a point."""
        away, spatial = point - self._start, point[:-1]
        radius = np.sqrt(1.0 + spatial @ spatial)
        margin = self._spatial @ spatial + self._curved * (radius - 1.0) + point[-1] + self._fixed
        margin *= self._signs
        chance = 0.5 * (1.0 + np.tanh(0.5 * margin))
        softplus = np.maximum(margin, 0.0) + np.log1p(np.exp(-np.abs(margin)))
        value = self._weights @ softplus + self._pull @ np.square(away)
        forces = self._weights * self._signs * chance
        bent = float(forces @ self._curved) / radius
        gradient = 2 * self._pull * away
        gradient += np.append(forces @ self._spatial + bent * spatial, forces.sum())
        matrix = self._curvature(self._weights * chance * (1 - chance), spatial / radius)
        bend = max(0.0, bent)  # below 0 it would not be convex
        matrix[:-1, :-1] += bend * (np.eye(len(spatial)) - np.outer(spatial, spatial) / radius**2)
        return float(value), gradient, matrix

    def _curvature(self, weights: Float64, direction: Float64) -> Float64:
        """Return the Gauss-Newton matrix of the queries that matter, and the pull's."""
        matters = weights > _LEAST_CURVATURE * weights.max()
        slopes = np.ones((int(matters.sum()), len(direction) + 1))
        slopes[:, :-1] = self._spatial[matters] + self._curved[matters, None] * direction
        matrix: Float64 = slopes.T @ (slopes * weights[matters, None])
        return matrix + np.diag(2 * self._pull)

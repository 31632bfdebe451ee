"""Mine and weigh the closed paths that imply a direction (a relation or its reciprocal).

Source: path ranking (Lao, Mitchell and Cohen 2011), with walks of distinct entities as in AnyBURL
(Meilicke et al. 2019) instead of random walks: a feature is whether a path reaches a candidate,
and a logistic regression weighs the features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from sklearn.linear_model import LogisticRegression

from mulde.typing import Rows
from training.rules.walks import Path, Walks

_CHUNK = 500
_CONSIDERED = 400
_LEAST_CONFIDENCE = 1e-3
_PESSIMISM = 5
_CANDIDATES = 2_000_000
_MOST_OF_A_PAIR = 1_000_000
_WALKS_AT_ONCE = 500_000


@dataclass(frozen=True)
class Mining:
    """How much is looked at and kept.

    Attributes:
        sample: triples per direction that are looked at.
        longest: most steps of a path, 1 to 3.
        most: paths kept per direction.
    """

    sample: int = 8000
    longest: int = 3
    most: int = 150


@dataclass(frozen=True)
class Rules:
    """Paths of one direction; a candidate's logit is ``intercept + sum of the weights that hold``.

    ``paths`` is empty where nothing was found; then no candidate has a logit.
    """

    paths: tuple[Path, ...] = ()
    weights: tuple[float, ...] = ()
    intercept: float = 0.0

    def logits(self, walks: Walks, sources: Rows) -> csr_array:
        """[n, E], stored for the candidates that some path reaches, and for no others.

        A stored value is never 0: a logit that is becomes the least positive number.
        """
        total = csr_array((len(sources), walks.entities), dtype=np.float32)
        reached = total
        for weight, found in zip(self.weights, walks.reached(sources, self.paths), strict=True):
            total, reached = total + found * np.float32(weight), reached + found
        row, column = reached.nonzero()
        values = np.asarray(total[row, column]).ravel() if len(row) else np.empty(0)
        values = (values + self.intercept).astype(np.float32)
        values[values == 0] = np.finfo(np.float32).tiny
        return csr_array((values, (row, column)), shape=total.shape)


def mine(walks: Walks, direction: int, settings: Mining, seed: int) -> Rules:
    """Find and weigh the paths that stand for a direction of train.

    Args:
        walks: train's edges.
        direction: a relation r, or r + R.
        settings: how much is looked at and kept.
        seed: of the sample of triples.
    """
    generator = np.random.default_rng([seed, direction])
    source, target = walks.pairs(direction)
    pick = generator.permutation(len(source))[: settings.sample]
    support, _ = closing(walks, source[pick], target[pick], direction, settings.longest)
    frequent = sorted(support, key=lambda path: (-support[path], path))[:_CONSIDERED]
    known = walks.edges[direction]
    some = np.unique(source[pick])
    sample = generator.permutation(some)[: settings.sample // 2]
    confidence = confidences(walks, sample, frequent, known)
    kept = [path for path in frequent if confidence[path] > _LEAST_CONFIDENCE]
    kept.sort(key=lambda path: (-confidence[path] * np.log1p(support[path]), path))
    return _fit(walks, sample, kept[: settings.most], known)


def closing(
    walks: Walks,
    source: Rows,
    target: Rows,
    direction: int,
    longest: int,
    most_walks: int = 1 << 40,
) -> tuple[dict[Path, int], int]:
    """Count how many of the pairs (source, target) [n] each path closes, for paths that close two.

    Walks of one step less than the path are enumerated, from the end that has fewer of them.

    Args:
        walks: train's edges.
        source: [n] rows of entities.
        target: [n] rows of entities.
        direction: of the pairs; its edge itself is no path.
        longest: most steps of a path, 1 to 3.
        most_walks: pairs are looked at in order until they cost so many walks (``costs``); a pair
            with more than ``_MOST_OF_A_PAIR`` is left out.

    Returns:
        Pairs that each path closes, and how many pairs were looked at.
    """
    swapped, cost = costs(walks, source, target, longest)
    few = np.flatnonzero(cost <= _MOST_OF_A_PAIR)
    few = few[np.cumsum(cost[few]) <= most_walks]
    counts: dict[Path, int] = {}
    for backwards in (False, True):
        pairs = few[swapped[few] == backwards]
        start, end = (target, source) if backwards else (source, target)
        batch = np.cumsum(cost[pairs]) // _WALKS_AT_ONCE
        for part in np.split(pairs, np.flatnonzero(np.diff(batch)) + 1):
            for path, found in _closing(walks, start[part], end[part], longest):
                forward = walks.reversed(path) if backwards else path
                counts[forward] = counts.get(forward, 0) + found
    counts.pop((direction,), None)
    return {path: found for path, found in counts.items() if found > 1}, len(few)


def costs(walks: Walks, source: Rows, target: Rows, longest: int) -> tuple[NDArray[np.bool_], Rows]:
    """Return which pairs [n] are walked from their target, and the walks that each needs.

    Walks of one step less than the longest path, and those that the join with the other end's edges
    is expected to find: in a dense graph they are many times more.
    """
    size = walks.fan_out if longest > 2 else walks.degree
    swapped = size[target] < size[source]
    other = walks.degree[np.where(swapped, source, target)]
    walked = np.where(swapped, size[target], size[source])
    return swapped, (walked * (1 + other / walks.entities)).astype(np.int64) + 1


def _closing(walks: Walks, source: Rows, target: Rows, longest: int) -> list[tuple[Path, int]]:
    """Paths of each length and how many pairs each closes.

    Walks of one step less than the path, as a table, are joined with the edges into the target.
    """
    row, step, at = walks.step(source)
    ends = at == target[row]
    found = _counted(row[ends], [step[ends]])
    row, steps, at = row[~ends], [step[~ends]], at[~ends]
    into, back, before = walks.step(target)
    last = walks.reciprocal(back)
    for length in range(2, longest + 1):
        left, right = _equal(row * walks.entities + at, into * walks.entities + before)
        found += _counted(row[left], [*(one[left] for one in steps), last[right]])
        if length < longest:
            parent, step, there = walks.step(at)
            apart = (there != source[row[parent]]) & (there != target[row[parent]])
            parent, at = parent[apart], there[apart]
            row, steps = row[parent], [*(one[parent] for one in steps), step[apart]]
    return found


def _equal(left: Rows, right: Rows) -> tuple[Rows, Rows]:
    """Places of all equal pairs of two columns: an inner join."""
    order = np.argsort(right, kind="stable")
    first, end = (np.searchsorted(right[order], left, side) for side in ("left", "right"))
    count = end - first
    owner = np.repeat(np.arange(len(left)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return owner, order[first[owner] + within]


def _counted(row: Rows, steps: list[Rows]) -> list[tuple[Path, int]]:
    """Paths and in how many rows each occurs."""
    if not len(row):
        return []
    columns = [*steps, row]
    sizes = [int(column.max()) + 1 for column in columns]
    if math.prod(sizes) < 2**63:  # one number for each row and path sorts many times faster
        keys = np.unique(np.ravel_multi_index(columns, sizes))
        walked, counts = np.unique(keys // sizes[-1], return_counts=True)
        paths = np.stack(np.unravel_index(walked, sizes[:-1]), axis=1)
    else:
        distinct = np.unique(np.stack(columns, axis=1), axis=0)
        paths, counts = np.unique(distinct[:, :-1], axis=0, return_counts=True)
    return list(zip(map(tuple, paths.tolist()), counts.tolist(), strict=True))


def confidences(
    walks: Walks, sources: Rows, paths: list[Path], known: csr_array
) -> dict[Path, float]:
    """Return known / (reached + 5) of each path: lower than the share for rare paths.

    Args:
        walks: train's edges.
        sources: [n] distinct entities.
        paths: from them.
        known: [E, E] of ones, the answers that train gives.
    """
    answers = known[sources]
    return {
        path: found.multiply(answers).nnz / (found.nnz + _PESSIMISM)
        for path, found in zip(paths, walks.reached(sources, paths), strict=True)
    }


def _fit(walks: Walks, sources: Rows, paths: list[Path], known: csr_array) -> Rules:
    """Logistic regression over all (source, candidate) that some path reaches."""
    features: list[csr_array] = []
    labels: list[NDArray[np.bool_]] = []
    rows = 0
    for part in np.array_split(sources, max(1, len(sources) // _CHUNK)):
        reached = list(walks.reached(part, paths))
        if not reached:
            break
        row, column = sum(reached[1:], reached[0]).nonzero()
        key = np.sort(row * np.int64(walks.entities) + column)
        features.append(_columns(reached, key, walks.entities))
        truth = known[part].tocoo()
        labels.append(np.isin(key, truth.coords[0] * np.int64(walks.entities) + truth.coords[1]))
        rows += len(key)
        if rows > _CANDIDATES:
            break
    if not rows:
        return Rules()
    # One candidate of each kind that all paths reach: paths that are never wrong can be weighed.
    features.append(csr_array(np.ones((2, len(paths)), np.float32)))
    labels.append(np.array([False, True]))
    model = LogisticRegression(solver="liblinear", max_iter=200)
    model.fit(vstack(features, format="csr"), np.concatenate(labels))
    return Rules(tuple(paths), tuple(map(float, model.coef_[0])), float(model.intercept_[0]))


def _columns(reached: list[csr_array], key: Rows, entities: int) -> csr_array:
    """Features [candidates, paths]; ``key`` is ascending."""
    rows, columns = [], []
    for number, found in enumerate(reached):
        places = found.tocoo()
        own = places.coords[0].astype(np.int64) * entities + places.coords[1]
        rows.append(np.searchsorted(key, own))
        columns.append(np.full(len(own), number))
    # scikit-learn takes no longer indices.
    row, column = (np.concatenate(part).astype(np.int32) for part in (rows, columns))
    ones = np.ones(len(row), np.float32)
    return csr_array((ones, (row, column)), shape=(len(key), len(reached)))

"""Text columns: numbers of an entity that are made of its text, and each relation's use of them.

    score'(h, r, t) = score(h, r, t) + s_r <q / |q|, x_t>        q = x_h M_r + v_r

x_e [n], of length 1, is made of the entity's label and description alone, so an entity without
facts has it too.
The sum is one inner product with the row of t: an index stays exact, and a server needs no text.

Shape letters: E entities, R relations, n text columns, B queries, S steps, Q queries of valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mulde.evaluation.metrics import RankingTask, Scores
from mulde.evaluation.ranking import filtered_ranks
from mulde.typing import Float32, Float64, Floats, Rows

STEPS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0)
"""Weights of a relation that are tried on valid; 0 is always among them."""

FEWEST = 10
"""Queries of valid that each half of a relation's must hold, or it takes the weight of all."""

TINY = 1e-12
"""Under the root of a length, so that a query of zeros stays one."""

_SCORES = 1 << 24


@dataclass(frozen=True)
class TextColumns:
    """What text adds to scores.

    Attributes:
        columns: [E, n], x, rows of length 1.
        matrix: [2R, n, n], M, rounded to the half precision of an encoder.
        shift: [2R, n], v.
        scale: [2R], s.
    """

    columns: Float32
    matrix: Float32
    shift: Float32
    scale: Float32

    @classmethod
    def none(cls, entities: int, relations: int) -> TextColumns:
        """No columns."""
        sizes = (entities, 0), (2 * relations, 0, 0), (2 * relations, 0), (2 * relations,)
        return cls(*(np.zeros(size, np.float32) for size in sizes))

    @property
    def count(self) -> int:
        """Return n."""
        return int(self.columns.shape[1])

    def queries(self, entity: Rows, relation: Rows) -> Float32:
        """Return [B, n], what a query multiplies the columns of a candidate by."""
        heads = self.columns[entity][:, None]
        mapped: Float32 = (heads @ self.matrix[relation])[:, 0] + self.shift[relation]
        length = np.sqrt(np.square(mapped).sum(axis=1) + TINY)
        mapped *= (self.scale[relation] / length)[:, None]
        return mapped

    def added(self, scores: Scores) -> Scores:
        """Return the scores with the text's part added."""

        def with_text(entity: Rows, relation: Rows) -> Floats:
            found = scores(entity, relation)
            return found + (self.queries(entity, relation) @ self.columns.T).astype(found.dtype)

        return with_text if self.count else scores

    def weighted(self, weights: Float32) -> TextColumns:
        """Return the same columns with weights w [2R] multiplied in."""
        return replace(self, scale=self.scale * weights)


def choose_weights(
    scores: Scores,
    text: TextColumns,
    valid: RankingTask,
    report: Callable[[str], None] = lambda step: None,
) -> Float32:
    """Choose on valid by what w [2R] each relation's scale is multiplied.

    It is the step with the greatest gain of MRR on the half of the relation's queries that gains
    less, and 0 where no step helps both halves. A relation with few queries takes the weight that
    all queries together choose.
    """
    report("choosing the weights of the text columns on valid")
    gains = _gains(scores, text, valid)
    weights = np.full(len(text.shift), _best(gains), np.float32)
    for row in np.unique(valid.relation):
        mine = gains[:, valid.relation == row]
        if mine.shape[1] >= 2 * FEWEST:
            weights[row] = _best(mine)
    return weights


def _best(gains: Float64) -> float:
    """Return the step that gains most on the half [S, Q / 2] of gains [S, Q] that gains less."""
    lesser = np.minimum(gains[:, 0::2].mean(1), gains[:, 1::2].mean(1))
    return STEPS[int(lesser.argmax())] if lesser.max() > 0 else 0.0


def _gains(scores: Scores, text: TextColumns, valid: RankingTask) -> Float64:
    """Return the gain of reciprocal rank [S, Q] of each query of valid by each step."""
    gains = np.empty((len(STEPS), len(valid.target)))
    batch = max(1, _SCORES // len(text.columns))
    for start in range(0, len(valid.target), batch):
        part = slice(start, start + batch)
        entity, relation, target = valid.entity[part], valid.relation[part], valid.target[part]
        known = valid.known.of_many(entity, relation)
        found = scores(entity, relation)
        more = text.queries(entity, relation) @ text.columns.T
        plain = 1 / filtered_ranks(found, target, *known)
        for at, step in enumerate(STEPS):
            moved = found + np.float32(step) * more
            gains[at, part] = 1 / filtered_ranks(moved, target, *known) - plain
    return gains

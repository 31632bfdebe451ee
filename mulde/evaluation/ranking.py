"""Filtered ranks, MRR and Hits@k: the one definition of a rank.

Shape letters: B triples, E entities, F known tails of all B queries together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.typing import Float64, Floats, Ints


def filtered_ranks(scores: Floats, targets: Ints, known_offsets: Ints, known_rows: Ints) -> Float64:
    """Rank each target among the candidates that are not other known answers.

    rank = 1 + #{better} + #{equal} / 2, the mean of the best and the worst place among ties
    ("realistic"). Other known answers of the query are left out; the target itself never counts
    against itself. A candidate whose score is NaN is worse than every number; a target whose
    score is NaN takes the last place.

    Args:
        scores: [B, E], higher is more plausible.
        targets: [B], row of the true answer.
        known_offsets: [B + 1]; query i's known answers are ``known_rows[offsets[i]:offsets[i+1]]``.
        known_rows: [F], distinct within a query; may or may not hold the target.

    Returns:
        [B] ranks in [1, E].

    Source: realistic ranks as in Berrendorf et al. 2020, arXiv:2002.06914.
    """
    count, entities = scores.shape
    own = scores[np.arange(count), targets][:, None]
    better = np.count_nonzero(scores > own, axis=1)
    equal = np.count_nonzero(scores == own, axis=1) - 1
    owner = np.repeat(np.arange(count), np.diff(known_offsets))
    others = known_rows != targets[owner]
    owner, rows = owner[others], known_rows[others]
    value = scores[owner, rows]
    left = np.bincount(owner, minlength=count)
    better = better - np.bincount(owner[value > own[owner, 0]], minlength=count)
    equal = equal - np.bincount(owner[value == own[owner, 0]], minlength=count)
    ranks: Float64 = 1.0 + better + equal / 2.0
    return np.where(np.isnan(own[:, 0]), np.float64(entities) - left, ranks)


@dataclass(frozen=True)
class Quality:
    """Figures of a set of ranks, as fractions of 1."""

    mrr: float
    hits_at_1: float
    hits_at_3: float
    hits_at_10: float
    count: int

    @classmethod
    def of(cls, ranks: Floats) -> Quality:
        """Mean reciprocal rank and Hits@k of ``ranks`` [B]; B must be at least 1."""
        if ranks.size == 0:
            raise ValueError("no ranks to summarise")
        hits_1, hits_3, hits_10 = (float(np.mean(ranks <= k)) for k in (1, 3, 10))
        return cls(float(np.mean(1.0 / ranks)), hits_1, hits_3, hits_10, int(ranks.size))

    def as_dict(self) -> dict[str, float]:
        """The figures under their field names: mrr, hits@1, hits@3, hits@10."""
        return {
            "mrr": self.mrr,
            "hits@1": self.hits_at_1,
            "hits@3": self.hits_at_3,
            "hits@10": self.hits_at_10,
        }


def summarise(tail_ranks: Floats, head_ranks: Floats) -> dict[str, dict[str, float]]:
    """Quality per direction and over both: ``{"tail": ..., "head": ..., "total": ...}``."""
    parts = {
        "tail": tail_ranks,
        "head": head_ranks,
        "total": np.concatenate([tail_ranks, head_ranks]),
    }
    return {name: Quality.of(ranks).as_dict() for name, ranks in parts.items()}

"""Loops, facts (e, r, e) from an entity to itself, and the relations that hold none.

Near the point of a query lies, more often than not, the entity that it was made from: on WN18RR
it outranks the right answer of every third query, and is right for none. So a relation that train
never, or hardly ever, loops is taken at its word: an entity is no answer to its own query, and the
score of such a triple is lowered by ``LOOP``.

Shape letters: B queries, E entities, R relations, n triples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mulde.typing import Floats, Ints, Mask, Rows

if TYPE_CHECKING:
    from mulde.evaluation.metrics import Scores

LOOP = 1000.0
"""What a loop costs where there are none: more than lies between any two answers of a model."""


def looping(triples: Ints, relations: int, at_least: float) -> tuple[int, ...]:
    """The relations that loop: at least this share of their triples.

    Args:
        triples: [n, 3] of head, relation, tail.
        relations: R.
        at_least: above 0, up to 1.

    Returns:
        Rows in [0, R), ascending. A relation without triples does not loop.
    """
    loops = triples[triples[:, 0] == triples[:, 2], 1]
    count, every = (np.bincount(r, minlength=relations) for r in (loops, triples[:, 1]))
    found = np.flatnonzero((count > 0) & (count >= at_least * every))
    return tuple(found.tolist())


def loopless(loops: tuple[int, ...] | None, relations: int) -> Mask:
    """[2R]: the relations, and reciprocal ones, in which an entity is no answer to its own query.

    Args:
        loops: those that may loop; None for all.
        relations: R.
    """
    mask = np.full(relations, loops is not None)
    mask[list(loops or ())] = False
    return np.tile(mask, 2)


def lower(scores: Floats, entities: Rows, relations: Rows, mask: Mask) -> None:
    """Lower the loops among scores [B, E] of the queries (entity [B], relation [B]), in place."""
    own = np.flatnonzero(mask[relations])
    scores[own, entities[own]] -= LOOP


def without_loops(scores: Scores, mask: Mask) -> Scores:
    """The same scores, loops lowered."""

    def lowered(entity: Rows, relation: Rows) -> Floats:
        found = scores(entity, relation)
        lower(found, entity, relation, mask)
        return found

    return lowered

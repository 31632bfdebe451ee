"""Corrupted triples: the false ones of a plausibility.

Shape letters: n triples.
"""

from __future__ import annotations

import numpy as np

from mulde.bundle.facts.known_facts import KnownFacts
from mulde.graph.graph import Graph
from mulde.typing import Rows

CORRUPTED = 10
"""Corrupted triples of each triple."""

_TRIES = 30


def corrupt(graph: Graph, triples: Rows, generator: np.random.Generator) -> tuple[Rows, Rows]:
    """Replace the tails of triples [n, 3] by other tails of their relations in train.

    Returns:
        Corrupted triples that are no facts and no self-loops, and the row of each one's origin; up
        to ``CORRUPTED`` of each triple, fewer where its relation has no other tails.
    """
    known = KnownFacts.build(graph.all_triples, graph.num_entities, graph.num_relations)
    slots = np.unique(graph.train[:, [1, 2]].astype(np.int64), axis=0)
    start = np.searchsorted(slots[:, 0], np.arange(graph.num_relations + 1))
    owner = np.repeat(np.arange(len(triples)), CORRUPTED)
    head, relation, tail = triples[owner].T
    first, size = start[relation], np.diff(start)[relation]
    pending = np.flatnonzero(size > 0)
    done = np.zeros(len(owner), dtype=bool)
    for _ in range(_TRIES):
        drawn = first[pending] + generator.integers(0, size[pending])
        tail[pending] = slots[drawn, 1]
        h, r, t = head[pending], relation[pending], tail[pending]
        good = ~known.contains(h, r, t) & (h != t)
        done[pending[good]] = True
        pending = pending[~good]
    return np.column_stack([head, relation, tail])[done], owner[done]

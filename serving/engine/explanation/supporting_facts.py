"""Facts of the head and of the tail that a score rests on most.

A triple (h, r, t) scores high where t lies in the direction of the query (h, r, ?). A known fact
(t, d, x) puts t in the direction of its own query (x, d^-1, ?): that is how an unseen entity is
placed (``mulde.placement.solver``). So the fact supports the triple by the cosine of the two query
vectors. Facts of h support it in the same way through (t, r^-1, ?). How far scores fall without
these facts is in benchmarks/explain.md.

Shape letters: B triples, n entities, m facts of them, F supporting facts, D dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.runs import run_owners, run_places
from mulde.typing import Float32, Float64, Offsets, Rows
from serving.engine.engine import Engine

MOST_EACH = 64
"""Known facts of an entity that are looked at, evenly over all it has."""


@dataclass(frozen=True)
class SupportingFacts:
    """Known facts (head, relation, tail), those with the greatest support of each triple first.

    Attributes:
        offsets: [B + 1]; triple i has the facts ``offsets[i]`` to ``offsets[i + 1]``.
        heads, relations, tails: [F]; relations in [0, R).
        support: [F], cosine of the fact's query and the triple's, above 0 and at most 1.
    """

    offsets: Offsets
    heads: Rows
    relations: Rows
    tails: Rows
    support: Float64


def find_supporting_facts(
    engine: Engine, heads: Rows, relations: Rows, tails: Rows, most: int
) -> SupportingFacts:
    """Return up to ``most`` facts that support each triple [B], without the triple itself.

    Args:
        engine: whose bundle has known facts.
        heads: [B] rows.
        relations: [B] rows in [0, R).
        tails: [B] rows.
        most: facts of a triple.
    """
    count = engine.num_relations
    # Each triple asks twice: from the head, which the tail answers, and from the tail.
    asking, answering = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    asked = np.concatenate([relations, relations + count])
    entities, which = np.unique(answering, return_inverse=True)
    bounds, directions, neighbours = _facts_of(engine, entities)
    sizes = np.diff(bounds)[which]
    owner, fact = run_owners(sizes), run_places(bounds[which], sizes)
    back = (directions + count) % (2 * count)
    queries = np.concatenate([asking, neighbours]), np.concatenate([asked, back])
    units = _unit_queries(engine, *queries)
    support = np.einsum("ij,ij->i", units[owner], units[len(asking) + fact]).astype(np.float64)
    columns = _forward(answering[owner], directions[fact], neighbours[fact], count)
    return _best(owner % len(heads), columns, support, (heads, relations, tails), most)


def _facts_of(engine: Engine, entities: Rows) -> tuple[Offsets, Rows, Rows]:
    """Bounds [n + 1], directions [m] in [0, 2R) and neighbours [m] of facts of entities [n]."""
    known, width = engine.amendments.known, 2 * engine.num_relations
    assert known is not None
    asked = np.tile(np.arange(width), len(entities))
    offsets, neighbours = known.of_many(entities.repeat(width), asked)
    directions, bounds = asked.repeat(np.diff(offsets)), offsets[::width].astype(np.int64)
    sizes = np.diff(bounds)
    taken = np.minimum(sizes, MOST_EACH)
    owner, within = run_owners(taken), run_places(0, taken)
    place = bounds[owner] + within * sizes[owner] // taken[owner]
    ends = np.concatenate([[0], np.cumsum(taken)])
    return ends, directions[place], neighbours[place].astype(np.int64)


def _unit_queries(engine: Engine, entities: Rows, directions: Rows) -> Float32:
    """Return the directions [m, D] of queries (entity, direction, ?)."""
    spatial = engine.manifest.layout.spatial
    vectors = engine.encode(entities, directions, priors=False).vector[:, spatial]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Float32 = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


def _forward(entity: Rows, direction: Rows, neighbour: Rows, count: int) -> tuple[Rows, Rows, Rows]:
    """Head, relation and tail [m] of facts (entity, direction in [0, 2R), neighbour)."""
    back = direction >= count
    head, tail = np.where(back, neighbour, entity), np.where(back, entity, neighbour)
    return head, direction % count, tail


def _best(
    triple: Rows,
    columns: tuple[Rows, Rows, Rows],
    support: Float64,
    asked: tuple[Rows, Rows, Rows],
    most: int,
) -> SupportingFacts:
    """The facts [m] with the greatest support above 0 of each triple, each fact once."""
    itself = np.all([one == own[triple] for one, own in zip(columns, asked, strict=True)], axis=0)
    order = np.lexsort((-support, *columns, triple))
    order = order[((support > 0) & ~itself)[order]]
    fresh = np.ones(len(order), dtype=bool)  # a fact that joins head and tail comes from both
    keys = [one[order] for one in (triple, *columns)]
    fresh[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    order = order[fresh]
    order = order[np.lexsort((-support[order], triple[order]))]
    owner = triple[order]
    order = order[np.arange(len(owner)) - np.searchsorted(owner, owner) < most]
    offsets = np.searchsorted(triple[order], np.arange(len(asked[0]) + 1))
    heads, relations, tails = (one[order] for one in columns)
    return SupportingFacts(offsets, heads, relations, tails, np.minimum(support[order], 1.0))

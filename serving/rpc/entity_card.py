"""What a bundle holds about one entity: description, types, known facts by relation and side.

Shape letters: R relations.
"""

from __future__ import annotations

import numpy as np

from mulde.bundle.facts.amended_facts import FactLookup
from mulde.v1 import vocabulary_pb2
from serving.registry.model import Model
from serving.rpc.handlers import Call

_MOST_TYPES = 1000


def own_types(model: Model, row: int, call: Call) -> list[str]:
    """Types of an entity, without the built-in ones, which its facts tell; the first 1,000."""
    types, new = model.bundle.types, model.new.of(row)
    if new is not None:
        return sorted(new.types)
    if types is None:
        return []
    found = []
    for name in types.names:
        if name.startswith(("head:", "tail:")):
            continue
        call.check()
        members = types.of(name)
        place = int(members.searchsorted(row))
        if place < len(members) and members[place] == row:
            found.append(name)
    return found[:_MOST_TYPES]


def own_description(model: Model, row: int) -> str:
    """The text that the bundle, or who added the entity, gave; empty where there is none."""
    new, given = model.new.of(row), model.bundle.descriptions
    if new is not None:
        return new.description
    return "" if given is None else given.of(row)


def fact_counts(model: Model, known: FactLookup, row: int) -> list[vocabulary_pb2.FactCount]:
    """How many known facts an entity has, by relation and side, where it has any."""
    relations, names = model.engine.num_relations, model.bundle.vocabulary.relations
    both = np.arange(2 * relations)
    offsets, _ = known.of_many(np.full(2 * relations, row), both)
    counts = np.diff(offsets).reshape(2, relations)
    sides = vocabulary_pb2.ENTITY_SIDE_HEAD, vocabulary_pb2.ENTITY_SIDE_TAIL
    return [
        vocabulary_pb2.FactCount(
            relation=names.ids[relation],
            label=names.labels[relation],
            side=sides[side],
            count=int(counts[side, relation]),
        )
        for relation, side in np.argwhere(counts.T).tolist()
    ]

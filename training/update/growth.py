"""What lies between an old graph and a new one: rows, added and removed facts, changed queries.

Shape letters: E entities and R relations of the new graph, n facts, Q queries of its train split.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mulde.graph.graph import Graph, keys_of
from mulde.typing import Mask, Rows, Triples
from training.distillation.queries import QuerySet

NEW = -1
"""The old row of an entity or relation that the old graph does not have."""


@dataclass(frozen=True)
class Growth:
    """An old graph's rows in a new one, and the train facts that differ.

    Attributes:
        old, graph: before and after.
        entities: [E], the old row of each entity, or ``NEW``.
        relations: [R], the old row of each relation, or ``NEW``.
        added: [n, 3], train facts that the old train split lacks, in rows of the new graph.
        removed: [n, 3], old train facts that the new train split lacks, in rows of the old graph.
    """

    old: Graph
    graph: Graph
    entities: Rows
    relations: Rows
    added: Triples
    removed: Triples

    @classmethod
    def between(cls, old: Graph, graph: Graph) -> Growth:
        """Compare two graphs by the ids of their entities and relations."""
        entities = rows_among(old.entity_ids, graph.entity_ids)
        relations = rows_among(old.relation_ids, graph.relation_ids)
        before = _moved(old, entities, relations)
        size = graph.num_entities, graph.num_relations
        kept = np.all(before >= 0, axis=1)
        known = keys_of(before[kept], *size)
        now = keys_of(graph.train, *size)
        still = kept.copy()
        still[kept] = np.isin(known, now)
        added = graph.train[~np.isin(now, known)]
        return cls(old, graph, entities, relations, added, old.train[~still])

    @property
    def new_entities(self) -> Rows:
        """Rows of the entities that the old graph does not have."""
        return np.flatnonzero(self.entities == NEW)

    @property
    def new_relations(self) -> Rows:
        """Rows of the relations that the old graph does not have."""
        return np.flatnonzero(self.relations == NEW)

    @property
    def counts(self) -> dict[str, int]:
        """How much is new, and what is gone."""
        return {
            "facts_added": len(self.added),
            "facts_removed": len(self.removed),
            "new_entities": len(self.new_entities),
            "new_relations": len(self.new_relations),
        }

    @cached_property
    def queries(self) -> QuerySet:
        """The distinct queries of the new train split."""
        return QuerySet.of(self.graph.train, self.graph.num_relations, self.graph.num_entities)

    @cached_property
    def changed(self) -> Mask:
        """[Q]: whether a query gained or lost an answer."""
        size, relations = self.graph.num_entities, self.graph.num_relations
        lost = _moved(self.old, self.entities, self.relations, self.removed)
        facts = np.concatenate([self.added, lost[(lost >= 0).all(1)]]).astype(np.int64)
        head, relation, tail = facts.T
        keys = np.concatenate([relation * size + head, (relation + relations) * size + tail])
        own = self.queries.relation.numpy() * size + self.queries.entity.numpy()
        return np.isin(own, keys)


def rows_among(old: tuple[str, ...], new: tuple[str, ...]) -> Rows:
    """Rows in ``old`` of the ids ``new``; ``NEW`` for those that it lacks."""
    row = {name: place for place, name in enumerate(old)}
    return np.array([row.get(name, NEW) for name in new], dtype=np.int64)


def _moved(old: Graph, entities: Rows, relations: Rows, triples: Triples | None = None) -> Triples:
    """Old train facts (or ``triples``) in rows of the new graph; -1 where it lacks a name."""
    places = []
    for rows, size in ((entities, old.num_entities), (relations, old.num_relations)):
        place = np.full(size, NEW, dtype=np.int32)
        place[rows[rows != NEW]] = np.flatnonzero(rows != NEW)
        places.append(place)
    given = old.train if triples is None else triples
    columns = (places[0][given[:, 0]], places[1][given[:, 1]], places[0][given[:, 2]])
    return np.stack(columns, axis=1)

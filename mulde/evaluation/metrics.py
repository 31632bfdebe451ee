"""Filtered ranks and metrics of a split, from any function that scores queries.

Shape letters: n triples of the split, B queries of a batch, E entities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mulde.bundle.facts.known_facts import KnownFacts
from mulde.evaluation.ranking import filtered_ranks, summarise
from mulde.graph.graph import Graph
from mulde.typing import Float64, Floats, Rows

Scores = Callable[[Rows, Rows], Floats]
"""(entity [B], relation [B] in [0, 2R)) -> scores [B, E], higher is more plausible."""


@dataclass(frozen=True)
class RankingTask:
    """The 2n queries of a split, tails first, and what is known about each.

    Attributes:
        entity, relation, target: int64 [2n]; relation r + R asks for the head.
        known: the facts of train, valid and test together.
    """

    entity: Rows
    relation: Rows
    target: Rows
    known: KnownFacts

    @classmethod
    def of(cls, graph: Graph, split: str) -> RankingTask:
        """Prepare a split; all its triples count, also those with entities unseen in train."""
        head, relation, tail = graph.split(split).astype(np.int64).T
        return cls(
            entity=np.concatenate([head, tail]),
            relation=np.concatenate([relation, relation + graph.num_relations]),
            target=np.concatenate([tail, head]),
            known=KnownFacts.build(graph.all_triples, graph.num_entities, graph.num_relations),
        )

    def ranks(
        self, scores: Scores, batch: int = 512, report: Callable[[int], None] = lambda done: None
    ) -> Float64:
        """Ranks [2n]: n of tails, then n of heads; ``report`` gets the number done so far."""
        found = np.empty(len(self.target))
        for start in range(0, len(found), batch):
            part = slice(start, start + batch)
            entity, relation = self.entity[part], self.relation[part]
            known = self.known.of_many(entity, relation)
            found[part] = filtered_ranks(scores(entity, relation), self.target[part], *known)
            report(min(start + batch, len(found)))
        return found

    def quality(
        self, scores: Scores, report: Callable[[int], None] = lambda done: None
    ) -> dict[str, dict[str, float]]:
        """MRR and Hits@k of tails, heads and both, as fractions."""
        tails, heads = np.split(self.ranks(scores, report=report), 2)
        return summarise(tails, heads)

"""Filtered ranking of a split by a scorer; the rank itself is mulde.ranking's.

Shape letters: n triples of the split, B of a batch, E entities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mulde.graph import Graph
from mulde.ranking import filtered_ranks, summarise
from training.queries import QuerySet, both_directions
from training.scorers import Scorer


@dataclass(frozen=True)
class RankingTask:
    """The 2n queries of a split, tails first, with their known answers as compressed rows."""

    rows: NDArray[np.int64]
    known_offsets: NDArray[np.int64]
    known_rows: NDArray[np.int64]

    @classmethod
    def of(cls, graph: Graph, split: str) -> RankingTask:
        """Prepare a split; known facts are those of train, valid and test together."""
        rows = both_directions(graph.split(split), graph.num_relations)
        facts = QuerySet.of(graph.all_triples, graph.num_relations, graph.num_entities)
        key = (facts.relation * graph.num_entities + facts.entity).numpy()
        place = np.searchsorted(key, rows[:, 1] * graph.num_entities + rows[:, 0])
        offsets = facts.offsets.numpy()
        start, count = offsets[place], offsets[place + 1] - offsets[place]
        known_offsets = np.append(0, np.cumsum(count))
        step = np.arange(known_offsets[-1]) - np.repeat(known_offsets[:-1], count)
        known = facts.target.numpy()[np.repeat(start, count) + step]
        return cls(rows, known_offsets, known)

    def ranks(self, scorer: Scorer, batch: int = 512) -> NDArray[np.float64]:
        """Ranks [2n]: n of tails, then n of heads."""
        device = scorer.tail_bias.device
        found = np.empty(len(self.rows))
        with torch.inference_mode():
            for start in range(0, len(self.rows), batch):
                part = self.rows[start : start + batch]
                entity, relation = torch.from_numpy(part[:, :2]).to(device).unbind(1)
                scores = scorer.score_shared(scorer.query(entity, relation)).cpu().numpy()
                offsets = self.known_offsets[start : start + len(part) + 1]
                known = self.known_rows[offsets[0] : offsets[-1]]
                found[start : start + len(part)] = filtered_ranks(
                    scores, part[:, 2], offsets - offsets[0], known
                )
        return found

    def quality(self, scorer: Scorer) -> dict[str, dict[str, float]]:
        """MRR and Hits@k of tails, heads and both."""
        tails, heads = np.split(self.ranks(scorer), 2)
        return summarise(tails, heads)

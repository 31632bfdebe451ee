"""The popularity baseline: what a model must beat to have learnt anything about the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mulde.graph import Graph
from mulde.ranking import filtered_ranks, summarise
from training.evaluate import RankingTask
from training.queries import both_directions


def popularity(graph: Graph, split: str, batch: int = 512) -> dict[str, dict[str, float]]:
    """Filtered quality of ranking candidates by how often the relation had them as its target.

    The score of t for (h, r, ?) is the number of training triples (., r, t), whatever h is.
    Entities that never were a target tie, and take the mean place of the tie.
    """
    rows = both_directions(graph.train, graph.num_relations)
    shape = (2 * graph.num_relations, graph.num_entities)
    counts: NDArray[np.float32] = np.zeros(shape, dtype=np.float32)
    np.add.at(counts, (rows[:, 1], rows[:, 2]), 1)
    task = RankingTask.of(graph, split)
    ranks = np.empty(len(task.rows))
    for start in range(0, len(task.rows), batch):
        part = task.rows[start : start + batch]
        offsets = task.known_offsets[start : start + len(part) + 1]
        known = task.known_rows[offsets[0] : offsets[-1]]
        scores = counts[part[:, 1]]
        ranks[start : start + len(part)] = filtered_ranks(
            scores, part[:, 2], offsets - offsets[0], known
        )
    tails, heads = np.split(ranks, 2)
    return summarise(tails, heads)

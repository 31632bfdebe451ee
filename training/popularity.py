"""The popularity baseline: what a model must beat to have learnt anything about the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph
from training.distillation.queries import both_directions


def popularity(graph: Graph, split: str) -> dict[str, dict[str, float]]:
    """Filtered quality of ranking candidates by how often the relation had them as its target.

    The score of t for (h, r, ?) is the number of training triples (., r, t), whatever h is.
    Entities that never were a target tie, and take the mean place of the tie.
    """
    rows = both_directions(graph.train, graph.num_relations)
    shape = (2 * graph.num_relations, graph.num_entities)
    counts: NDArray[np.float32] = np.zeros(shape, dtype=np.float32)
    np.add.at(counts, (rows[:, 1], rows[:, 2]), 1)
    return RankingTask.of(graph, split).quality(lambda entity, relation: counts[relation])

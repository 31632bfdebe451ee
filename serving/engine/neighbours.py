"""The nearest entities of an entity, by the same search as predictions.

d(X, Y) = acosh(1 + u) / sqrt(c), with u = x + (1 + x) y - <X', Y'>; so the nearest of X are those
with the greatest product of (X', -(1 + x)) with (Y', y), in the table as it is.

Shape letters: B entities, W width.
"""

from __future__ import annotations

import numpy as np

from mulde.bundle.entity_table import Layout
from serving.engine.certificate import Certificate
from serving.engine.encoder import Query
from serving.engine.entity_table import EntityIndex
from serving.engine.exclusions import Excluded, Rows
from serving.engine.index.base import Candidates
from serving.engine.results import Found
from serving.engine.retriever import Retriever
from serving.engine.scoring import NeighbourScorer


class Neighbours:
    """Searches a table for what is near."""

    def __init__(
        self,
        index: EntityIndex,
        layout: Layout,
        curvature: float,
        row_norm: float,
        candidates: Candidates,
    ) -> None:
        """Share a table.

        Args:
            index: the table.
            layout: its columns.
            curvature: c.
            row_norm: see ``Certificate``.
            candidates: see ``Retriever``.
        """
        self._index, self._layout = index, layout
        scorer = NeighbourScorer(layout, curvature)
        certificate = Certificate(scorer, row_norm)
        self._retriever = Retriever(index, scorer, certificate, candidates)

    def nearest(self, entities: Rows, k: int, allowed: Rows | None, denied: Rows | None) -> Found:
        """The k nearest others of each entity [B]; the score is minus the distance."""
        excluded = Excluded(np.arange(len(entities) + 1), entities)
        if denied is not None:
            excluded = excluded.with_all(denied)
        query = points_as_queries(self._index, self._layout, entities)
        return self._retriever.best(query, k, excluded, allowed, exact=True)


def points_as_queries(index: EntityIndex, layout: Layout, entities: Rows) -> Query:
    """Entities as queries for their neighbours: offset -x, slope 1, no biases."""
    points = layout.unpack(index.rows(entities))
    vector = np.zeros((len(entities), layout.width), dtype=np.float32)
    vector[:, layout.spatial] = points.spatial
    vector[:, layout.excess] = -(1.0 + points.excess)[:, None]
    none = np.zeros(len(entities))
    return Query(vector, -points.excess, none, none + 1)

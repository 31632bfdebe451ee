"""The scores of a bundle as it is served: what calibration and quality are measured on.

Shape letters: n triples, B queries, E entities, R relations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mulde.typing import Float64, Mask, Rows
from serving.engine.encoder import Query
from serving.engine.engine import Engine
from serving.engine.plausibility import entity_biases

_AT_ONCE = 1 << 13


@dataclass(frozen=True)
class Served:
    """The scores of a bundle's engine."""

    engine: Engine

    @property
    def no_self_loops(self) -> Mask:
        """[2R], relation rows whose queries' entities are no answers."""
        return self.engine.manifest.loopless

    def new_facts(self, entities: Rows, relations: Rows) -> Float64:
        """What new facts are ranked by, [B, E]: score + prior, self-loops left out."""
        return self.engine.scores(entities, relations)

    def all_facts(self, entities: Rows, relations: Rows) -> Float64:
        """Scores [B, E] of the scorer alone."""
        found: Float64 = self.engine._retriever.scores(self._alone(entities, relations))
        return found

    def triples(
        self, heads: Rows, relations: Rows, tails: Rows
    ) -> tuple[Float64, Float64, Float64]:
        """Scores [n] of tails and of heads by the scorer alone, and biases [n, 4]."""
        columns = heads, relations, tails
        parts = [
            self._some(*(column[start : start + _AT_ONCE] for column in columns))
            for start in range(0, len(heads), _AT_ONCE)
        ]
        tail_scores, head_scores, biases = (np.concatenate(a) for a in zip(*parts, strict=True))
        return tail_scores, head_scores, biases

    def _some(self, heads: Rows, relations: Rows, tails: Rows) -> tuple[Float64, Float64, Float64]:
        biases = [entity_biases(self.engine, entities) for entities in (heads, tails)]
        tail_scores = self._score(heads, relations, tails)
        head_scores = self._score(tails, relations + self.engine.num_relations, heads)
        return tail_scores, head_scores, np.column_stack(biases)

    def _score(self, heads: Rows, relations: Rows, tails: Rows) -> Float64:
        rows = self.engine.table.rows(tails[:, None])
        found: Float64 = self.engine._scorer.scores(self._alone(heads, relations), rows)[:, 0]
        return found

    def _alone(self, entities: Rows, relations: Rows) -> Query:
        query = self.engine.encode(entities, relations)
        vector = query.vector.copy()
        vector[:, self.engine.manifest.layout.priors] = 0
        return replace(query, vector=vector)

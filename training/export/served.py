"""The scores of a bundle as it is served: what calibration and quality are measured on.

Shape letters: n triples, B queries, E entities, R relations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.typing import Float64, Mask, Rows
from serving.engine.engine import Engine
from serving.engine.plausibility import entity_biases


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
        return self.engine.scores(entities, relations, use_priors=False)

    def triples(
        self, heads: Rows, relations: Rows, tails: Rows
    ) -> tuple[Float64, Float64, Float64]:
        """Scores [n] of tails and of heads by the scorer alone, and biases [n, 4]."""
        biases = [entity_biases(self.engine, entities) for entities in (heads, tails)]
        return *self.engine.triple_scores(heads, relations, tails), np.column_stack(biases)

"""The scores of a bundle as it is served: what calibration and quality are measured on.

Shape letters: n triples, B queries, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mulde.bundle.manifest import Manifest
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph
from mulde.typing import Float64, Mask, Rows
from serving.engine.engine import Engine
from serving.engine.triples import entity_biases


@dataclass(frozen=True)
class Served:
    """The scores of a bundle's engine: ranking new facts, and the scorer alone."""

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


def measure_quality(
    manifest: Manifest,
    engine: Engine,
    graph: Graph,
    splits: tuple[str, ...],
    report: Callable[[str], None] = lambda step: None,
) -> Manifest:
    """Return the manifest with figures of splits: of new facts, and of the scorer alone."""
    served = Served(engine)
    new_facts, alone = dict(manifest.quality), dict(manifest.scorer_quality)
    for split in splits:
        task = RankingTask.of(graph, split)
        report(f"ranking {split} by the scorer alone")
        alone[split] = task.quality(served.all_facts)
        report(f"ranking {split} as new facts")
        new_facts[split] = task.quality(served.new_facts)
    return replace(manifest, quality=new_facts, scorer_quality=alone)

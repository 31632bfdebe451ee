"""The plausibility of triples, from the scorer's scores of both directions.

Shape letters: n triples.
"""

from __future__ import annotations

import numpy as np

from mulde.evaluation.calibration import BASE_RATE
from mulde.typing import Float64, Rows
from serving.engine.engine import Engine


def plausibilities(
    engine: Engine,
    triples: tuple[Rows, Rows, Rows],
    scores: tuple[Float64, Float64],
    base_rate: float = BASE_RATE,
) -> Float64:
    """Return the chance [n] that triples are true rather than corrupted.

    Args:
        engine: of a bundle with a calibration.
        triples: heads, relations and tails, [n] each; relations in [0, R).
        scores: of tails and of heads by the scorer alone, [n] each.
        base_rate: see ``Calibration.plausibility``.
    """
    calibration = engine.bundle.calibration
    assert calibration is not None
    heads, relations, tails = triples
    biases = np.column_stack([entity_biases(engine, heads), entity_biases(engine, tails)])
    found = calibration.plausibility(*scores, relations, biases, base_rate)
    found[engine.self_loops(heads, relations, tails)] = calibration.triples.floor
    return found


def entity_biases(engine: Engine, entities: Rows) -> Float64:
    """Tail bias and head bias of entities, [n, 2]."""
    layout, rows = engine.manifest.layout, engine.answer_rows(entities).astype(np.float64)
    columns = rows[:, layout.tail_bias].sum(axis=1), rows[:, layout.head_bias].sum(axis=1)
    return np.column_stack(columns)

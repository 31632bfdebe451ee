"""Unseen entities, placed against a real model: they answer like the entity they copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.bundle import open_bundle
from serving.engine.engine import Engine
from serving.registry.placement import Placer

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(open_bundle(ROOT / "models" / "fb15k-237-32"))


def test_a_placed_copy_answers_the_queries_of_its_facts_better_than_most(engine: Engine) -> None:
    # The facts that a known entity most certainly has, given as the facts of an unseen one.
    placer, ranks = Placer(engine.bundle, engine.loaded), []
    for entity in range(0, 200, 10):
        best = engine.predict([entity] * 5, [0, 1, 2, 3, 4], 1, use_priors=False)
        neighbours = engine.loaded.table.rows(best.rows)
        placed = placer.place(neighbours, np.arange(5))
        row = placed.as_answer.astype(np.float32)
        back = engine.encode(best.rows, np.arange(5) + engine.num_relations)
        own = engine.loaded.scorer.scores(back, row[None, None])[:, 0]
        all_scores = engine.loaded.retriever.scores(back)
        ranks += (all_scores > own[:, None]).mean(axis=1).tolist()
    assert np.median(ranks) < 0.05


def test_a_placement_depends_on_its_facts_alone(engine: Engine) -> None:
    rows = engine.loaded.table.rows(np.array([3, 4]))
    first, second = (Placer(engine.bundle, engine.loaded) for _ in range(2))
    second.place(rows[:1], np.array([7]))
    one, other = (placer.place(rows, np.array([0, 300])) for placer in (first, second))
    np.testing.assert_array_equal(one.as_answer, other.as_answer)
    np.testing.assert_array_equal(one.as_query, other.as_query)

"""The bundles in models/ answer exactly on this machine, whatever it multiplies with.

Exact is what sorting the float64 scores of every entity gives, ties by ascending row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.engine.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent for path in (ROOT / "models").glob("*/manifest.json"))
QUERIES = 600
STEP = 100


@pytest.mark.parametrize("k", [1, 10, 500])
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_certified_answers_are_the_exhaustive_ones(bundle: Path, k: int) -> None:
    engine, generator = Engine.open(bundle), np.random.default_rng(k)
    entities = generator.integers(engine.num_entities, size=QUERIES)
    relations = np.resize(np.arange(2 * engine.num_relations), QUERIES)
    together = engine.predict(entities, relations, k, use_priors=True)
    assert together.exact.all()
    for start in range(0, QUERIES, STEP):
        part = slice(start, start + STEP)
        scores = engine.scores(entities[part], relations[part])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        rows = together.rows.reshape(QUERIES, k)[part]
        assert np.array_equal(rows, best)
        one = slice(start, start + 1)
        alone = engine.predict(entities[one], relations[one], k, use_priors=True)
        assert alone.exact.all()
        assert np.array_equal(alone.rows, best[0])

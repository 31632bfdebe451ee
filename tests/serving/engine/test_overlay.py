"""Entities beyond the table: found by every search as if all rows were scored one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.bundle.facts.amended_facts import AmendedFacts
from mulde.typing import Float64, Rows
from serving.engine.engine import Engine
from serving.engine.overlay import Amendments, Overlay
from tests.support.toy import toy_bundle

E, MORE, K = 500, 40, 7


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Return an engine with 40 further entities, scaled copies of rows; some are no candidates."""
    toy = toy_bundle(tmp_path_factory.mktemp("overlay") / "toy", entities=E, relations=3)
    plain, rng = Engine.open(toy.path), np.random.default_rng(0)
    rows = plain.loaded.table.rows(rng.integers(0, E, MORE)).astype(np.float32)
    rows[:, plain.manifest.layout.spatial] *= rng.uniform(0.5, 2.0, (MORE, 1)).astype(np.float32)
    overlay = Overlay(E, rows, rows[::-1].copy(), rng.random(MORE) < 0.8)
    facts = np.array([[row, 1, E + row % MORE] for row in range(60)])
    known = AmendedFacts(plain.bundle.known, E, facts, np.zeros(60, bool))
    return plain.amended(Amendments(known, overlay))


def exhaustive(engine: Engine, entities: Rows, relations: Rows) -> Float64:
    """Return scores [B, E + O]; minus infinity for what is known, a self-loop or no candidate."""
    scores = engine.scores(entities, relations)
    assert engine.amendments.known is not None
    offsets, tails = engine.amendments.known.of_many(entities, relations)
    for i in range(len(entities)):
        scores[i, tails[offsets[i] : offsets[i + 1]]] = -np.inf
    loops = np.flatnonzero(engine.self_loops(entities, relations, entities))
    scores[loops, entities[loops]] = -np.inf
    return scores


@pytest.mark.parametrize("narrowed", [False, True])
def test_the_best_are_those_of_exhaustive_scoring(engine: Engine, narrowed: bool) -> None:
    rng = np.random.default_rng(1)
    entities = np.concatenate([rng.integers(0, E, 90), np.arange(E, E + 10)])
    relations = rng.integers(0, 6, 100)
    allow, deny = None, None
    scores = exhaustive(engine, entities, relations)
    if narrowed:
        allow, deny = np.unique(rng.integers(0, E + MORE, 200)), np.array([3, E + 2])
        scores[:, np.setdiff1d(np.arange(E + MORE), allow)] = -np.inf
        scores[:, deny] = -np.inf
    results = engine.predict(entities, relations, K, exclude_known=True, allow=allow, deny=deny)
    assert results.exact.all()
    order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    np.testing.assert_array_equal(results.rows.reshape(100, K), order)
    assert (results.rows >= E).any()


def test_an_overlay_entity_is_scored_and_ranked_like_any_other(engine: Engine) -> None:
    alive = E + np.flatnonzero(engine.amendments.overlay.is_candidate)[:5]
    heads, relations = np.arange(5), np.zeros(5, np.int64)
    scores = engine.scores(heads, relations, use_priors=False)
    np.testing.assert_allclose(
        engine.score(heads, relations, alive), scores[np.arange(5), alive], rtol=1e-12
    )
    ranks = engine.ranks(heads, relations, alive, use_priors=False)
    assert ((ranks >= 1) & (ranks <= E + MORE)).all()
    near = engine.similar(alive, E + MORE - 1)
    assert (near.rows >= E).any()
    assert not (near.rows == alive[near.owners]).any()


def test_rows_beyond_the_overlay_are_refused(engine: Engine) -> None:
    with pytest.raises(Exception, match=f"rows from 0 to {E + MORE - 1}"):
        engine.predict([E + MORE], [0], 1)

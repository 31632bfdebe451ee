"""Relation priors: ranked with or without, told apart from scores, exact with every index."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.files import MANIFEST
from mulde.bundle.manifest import Index, IndexType
from mulde.bundle.table.entity_table import Precision
from mulde.errors import BundleError
from serving.engine.engine import Engine
from serving.engine.index.base import Exclusions, Search
from tests.serving.resealing import reseal
from tests.support.toy import Toy, toy_bundle

E, R = 500, 3
GENERATOR = np.random.default_rng(0)
ENTITIES, RELATIONS = GENERATOR.integers(0, E, 200), GENERATOR.integers(0, 2 * R, 200)


@pytest.fixture(scope="module", params=["fp16", "fp32"])
def toy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    precision: Precision = request.param
    folder = tmp_path_factory.mktemp("traits") / "toy"
    return toy_bundle(folder, entities=E, relations=R, traits=2, precision=precision)


def test_every_score_holds_what_the_traits_add(toy: Toy) -> None:
    with Engine.open(toy.path) as engine:
        scores = engine.scores(ENTITIES, RELATIONS)
    expected = toy.scores(ENTITIES, RELATIONS)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    without = replace(toy, pulls=np.zeros_like(toy.pulls)).scores(ENTITIES, RELATIONS)
    assert np.abs(expected - without).max() > 1


@pytest.mark.parametrize("kind", ["int8", "table"])
@pytest.mark.parametrize("size", [1, 200])
def test_answers_are_the_exhaustive_ones(toy: Toy, kind: IndexType, size: int) -> None:
    with Engine.open(toy.path) as engine:
        retriever = engine.loaded.search_by(Index(kind), toy.path / "none")
        scores = engine.scores(ENTITIES, RELATIONS)
        for start in range(0, 40 if size == 1 else 200, size):
            part = slice(start, start + size)
            query = engine.encode(ENTITIES[part], RELATIONS[part])
            found = retriever.search(query, Search(10, Exclusions.none(len(query))))
            expected = np.argsort(-scores[part], axis=1, kind="stable")[:, :10]
            assert found.rows.reshape(-1, 10).tolist() == expected.tolist()


def test_scores_and_priors_are_two_things(toy: Toy) -> None:
    """Answers are ranked by their sum where priors are used, and by the score alone elsewhere."""
    with Engine.open(toy.path) as engine:
        alone = engine.scores(ENTITIES, RELATIONS, use_priors=False)
        both = engine.scores(ENTITIES, RELATIONS)
        for use_priors, by in ((True, both), (False, alone)):
            found = engine.predict(ENTITIES, RELATIONS, 10, use_priors=use_priors)
            expected = np.argsort(-by, axis=1, kind="stable")[:, :10]
            assert found.rows.reshape(-1, 10).tolist() == expected.tolist()
            for told, truth in ((found.scores, alone), (found.totals, by)):
                wanted = truth[found.owners, found.rows]
                np.testing.assert_allclose(told, wanted, rtol=1e-12, atol=1e-12)
            assert found.priors is not None
            assert (np.abs(found.priors).max() > 1) == use_priors


def test_priors_are_used_where_known_facts_are_excluded_unless_told_otherwise(toy: Toy) -> None:
    with Engine.open(toy.path) as engine:
        for exclude_known in (True, False):
            rows = [
                engine.predict(
                    ENTITIES, RELATIONS, 10, exclude_known=exclude_known, use_priors=use_priors
                ).rows.tolist()
                for use_priors in (None, exclude_known, not exclude_known)
            ]
            assert rows[0] == rows[1] != rows[2]


def test_the_score_of_a_triple_has_no_prior(toy: Toy) -> None:
    with Engine.open(toy.path) as engine:
        alone = engine.scores(ENTITIES, RELATIONS, use_priors=False)
        tails = (ENTITIES * 7) % E
        found = engine.score(ENTITIES, RELATIONS, tails)
    assert found.tolist() == alone[np.arange(len(tails)), tails].tolist()


def test_an_encoder_that_pulls_what_the_manifest_does_not_name_is_refused(
    toy: Toy, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in toy.path.iterdir():
        (copy / name.name).write_bytes(name.read_bytes())
    manifest = copy / MANIFEST
    table = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**table, "traits": 1}), encoding="utf-8")
    reseal(copy)
    with pytest.raises(BundleError, match="laid out"):
        Engine.open(open_bundle(copy))

"""Traits are in every score, and every kind of index stays exact with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.bundle import MANIFEST, open_bundle
from mulde.bundle.entity_table import Precision
from mulde.bundle.manifest import Index
from mulde.errors import BundleError
from serving.engine.engine import Engine
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
@pytest.mark.parametrize("alone", [True, False])
def test_answers_are_the_exhaustive_ones(toy: Toy, kind: str, *, alone: bool) -> None:
    count = 40 if alone else len(ENTITIES)
    parts = [[place] for place in range(count)] if alone else [list(range(count))]
    with Engine.open(toy.path) as engine:
        retriever = engine.search_by(Index(kind), toy.path / "none")  # type: ignore[arg-type]
        scores = engine.scores(ENTITIES, RELATIONS)
        nothing = engine._excluded(ENTITIES, RELATIONS, False, None)
        for part in parts:
            query = engine.encode(ENTITIES[part], RELATIONS[part])
            excluded = nothing.take(part[0], part[-1] + 1)
            found = retriever.best(query, 10, excluded, None, exact=True)
            expected = np.argsort(-scores[part], axis=1, kind="stable")[:, :10]
            assert np.asarray(found.rows).reshape(-1, 10).tolist() == expected.tolist()


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

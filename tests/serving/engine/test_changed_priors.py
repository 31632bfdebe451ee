"""Relation priors after facts changed: the answers of a bundle made of the changed graph."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mulde.bundle.facts.amended_facts import AmendedFacts
from mulde.bundle.manifest import IndexType
from mulde.typing import Rows
from serving.engine.engine import Engine
from serving.engine.overlay import Amendments, Overlay
from serving.registry.prior_slots import PriorSlots
from tests.serving.resealing import with_index
from tests.support.toy import toy_bundle

E, R = 500, 3
SLOTS = ((0,), (4, 5))


class Pair(NamedTuple):
    """An engine that follows changed facts, and one whose bundle was made with them."""

    changed: Engine
    made: Engine
    slots: list[Rows]


def both_directions(triples: Rows) -> Rows:
    return np.concatenate([triples, triples[:, ::-1] + [0, R, 0]])


@pytest.fixture(scope="module", params=["int8", "table"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder, rng = tmp_path_factory.mktemp("priors"), np.random.default_rng(7)
    index: IndexType = request.param
    before = toy_bundle(folder / "before", entities=E, relations=R, slots=SLOTS)
    kept = rng.random(len(before.triples)) < 0.7
    fresh = rng.integers(0, [E, R, E], size=(100, 3)).astype(np.int32)
    facts = np.unique(np.concatenate([before.triples[kept], fresh]), axis=0)
    after = toy_bundle(folder / "after", entities=E, relations=R, slots=SLOTS, facts=facts)
    added, removed = fresh, before.triples[~kept]
    removed = np.array([fact for fact in removed.tolist() if fact not in facts.tolist()])
    for path in (before.path, after.path):
        with_index(path, index)
    engine = Engine.open(before.path)
    changes = both_directions(np.concatenate([added, removed]).astype(np.int64))
    states = np.tile(np.arange(len(added) + len(removed)) >= len(added), 2)
    known = AmendedFacts(engine.bundle.known, E, changes, states)
    slots = PriorSlots(engine.bundle, engine.loaded.table)
    entities = np.unique(changes[:, 0])
    priors = slots.changed(None, entities, slots.columns(entities, changes, states, known))
    assert priors is not None
    assert set(np.unique(priors.columns)) == {0.0, 1.0}
    assert len(priors.rows) > 50
    overlay = Overlay.none(E, engine.manifest.layout.width)
    changed = engine.amended(Amendments(known, overlay, priors))
    return Pair(changed, Engine.open(after.path), slots.slots)


def queries(count: int) -> tuple[Rows, Rows]:
    rng = np.random.default_rng(1)
    return rng.integers(0, E, count), rng.integers(0, 2 * R, count)


def test_the_slots_of_each_column_are_found(pair: Pair) -> None:
    assert [tuple(slots.tolist()) for slots in pair.slots] == list(SLOTS)


def test_every_score_is_that_of_the_changed_graph(pair: Pair) -> None:
    found, expected = (engine.scores(*queries(60)) for engine in (pair.changed, pair.made))
    np.testing.assert_array_equal(found, expected)
    plain = pair.changed.amended(Amendments(None, pair.changed.amendments.overlay))
    assert (plain.scores(*queries(60)) != expected).any()


@pytest.mark.parametrize("k", [1, 10, 400])
@pytest.mark.parametrize("narrowed", [False, True])
def test_answers_are_certified_and_those_of_the_changed_graph(
    pair: Pair, k: int, narrowed: bool
) -> None:
    allow = np.arange(0, E, 3) if narrowed else None
    deny = np.array([3, 7, 300]) if narrowed else None
    found, expected = (
        engine.predict(*queries(60), k, exclude_known=True, allow=allow, deny=deny)
        for engine in (pair.changed, pair.made)
    )
    assert found.exact.all()
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    assert found.priors is not None
    assert expected.priors is not None
    np.testing.assert_array_equal(found.priors, expected.priors)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_without_priors_nothing_differs(pair: Pair) -> None:
    found, expected = (
        engine.predict(*queries(60), 10, use_priors=False) for engine in (pair.changed, pair.made)
    )
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_a_bundle_without_types_that_explain_a_column_keeps_it(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy", entities=E, relations=R, traits=2)  # random columns
    engine = Engine.open(toy.path)
    slots = PriorSlots(engine.bundle, engine.loaded.table)
    changes = both_directions(np.array([[1, 0, 2]]))
    entities = np.array([1, 2])
    columns = slots.columns(entities, changes, np.zeros(2, bool), engine.bundle.known)
    assert slots.changed(None, entities, columns) is None

"""A loaded model follows the store: known facts, relation priors, new entities."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from mulde.placement.solver import Placement
from mulde.storage.fact_records import Names, NewEntity
from mulde.storage.fact_store import FactStore
from mulde.typing import Floats, Rows
from serving.engine.engine import Engine
from serving.registry.live_facts import LiveFacts
from serving.registry.model import Model, Tuning
from serving.registry.placement import Placer
from serving.registry.repository import Place
from tests.support.toy import Toy, toy_bundle

E, R = 300, 4


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = tmp_path_factory.mktemp("live") / "toy"
    return toy_bundle(folder, entities=E, relations=R, slots=((0,), (5, 6)))


@pytest.fixture
def store(tmp_path: Path) -> FactStore:
    return FactStore(tmp_path / "facts")


def model_of(toy: Toy, store: FactStore) -> Model:
    model = Model.load(Place("toy", "1", toy.path), Tuning())
    model.follow(LiveFacts(store, model.bundle))
    return model


def fact_of(toy: Toy, row: int) -> Names:
    head, relation, tail = toy.triples[row].tolist()
    return f"Q{head:07d}", f"P{relation}", f"Q{tail:07d}"


def columns(engine: Engine, row: int) -> list[float]:
    found = engine.answer_rows(np.array([row]))[0, engine.manifest.layout.priors]
    return [float(value) for value in found]


def test_relation_priors_follow_added_and_removed_facts(toy: Toy, store: FactStore) -> None:
    model = model_of(toy, store)
    tails = toy.triples[toy.triples[:, 1] == 0][:, 2]
    once = int(next(row for row in tails if (tails == row).sum() == 1))
    place = int(np.flatnonzero((toy.triples[:, 1] == 0) & (toy.triples[:, 2] == once))[0])
    never = int(np.setdiff1d(np.arange(E), tails)[0])
    assert (columns(model.engine, once)[0], columns(model.engine, never)[0]) == (1, 0)
    store.change([fact_of(toy, place)], removed=True)
    store.change([("Q0000003", "P0", f"Q{never:07d}")], removed=False)
    model.refresh()
    assert (columns(model.engine, once)[0], columns(model.engine, never)[0]) == (0, 1)
    store.change([fact_of(toy, place)], removed=False)
    store.change([("Q0000003", "P0", f"Q{never:07d}")], removed=True)
    model.refresh()
    assert (columns(model.engine, once)[0], columns(model.engine, never)[0]) == (1, 0)


def test_a_slot_stays_filled_while_another_fact_remains(toy: Toy, store: FactStore) -> None:
    model = model_of(toy, store)
    tails = toy.triples[toy.triples[:, 1] == 0][:, 2]
    twice = int(next(row for row in tails if (tails == row).sum() > 1))
    own = np.flatnonzero((toy.triples[:, 1] == 0) & (toy.triples[:, 2] == twice)).tolist()
    store.change([fact_of(toy, row) for row in own[1:]], removed=True)
    model.refresh()
    assert columns(model.engine, twice)[0] == 1
    store.change([fact_of(toy, own[0])], removed=True)
    model.refresh()
    assert columns(model.engine, twice)[0] == 0


def test_a_new_entity_has_the_priors_of_its_facts(toy: Toy, store: FactStore) -> None:
    model = model_of(toy, store)
    facts = [("Q0000003", "P0", "comet"), ("dust", "P1", "Q0000004")]
    store.change(facts, removed=False, entities=[NewEntity("comet"), NewEntity("dust")])
    model.refresh()
    assert [columns(model.engine, E + place) for place in (0, 1)] == [[1, 0], [0, 1]]


def test_what_was_dropped_before_it_was_read_is_not_missed(toy: Toy, store: FactStore) -> None:
    """One process is slow: others add, remove and drop changes before it looks again."""
    model, fact = model_of(toy, store), ("Q0000003", "P0", "Q0000299")
    rows = np.array([3]), np.array([0]), np.array([299])
    store.change([fact], removed=False)
    model.refresh()
    known = model.engine.amendments.known
    assert known is not None
    assert known.contains(*rows).tolist() == [True]
    last = store.change([fact], removed=True)
    store.change([fact_of(toy, 0)], removed=True)
    store.compact([last])  # the bundle does not have the fact: nothing is left to say
    model.refresh()
    known = model.engine.amendments.known
    assert known is not None
    assert known.contains(*rows).tolist() == [False]
    assert known.contains(*toy.triples[:1].T).tolist() == [False]
    assert model.changes() == {"facts added": 0, "facts removed": 1, "entities": 0}


def test_changes_that_the_bundle_has_already_count_for_nothing(toy: Toy, store: FactStore) -> None:
    model = model_of(toy, store)
    store.change([fact_of(toy, 0)], removed=False)
    store.change([("Q0000003", "P0", "unheard")], removed=True)
    model.refresh()
    assert model.changes() == {"facts added": 0, "facts removed": 0, "entities": 0}
    assert model.live.carries(store.changes()).tolist() == [True, True]


def add_entities(store: FactStore, names: list[str]) -> None:
    facts = [(name, f"P{place % R}", f"Q{place:07d}") for place, name in enumerate(names)]
    store.change(facts, removed=False, entities=[NewEntity(name) for name in names])


def test_another_start_takes_the_stored_vectors(
    toy: Toy, store: FactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = model_of(toy, store)
    add_entities(store, ["a", "b", "c"])
    one.refresh()
    one.keep()
    store.change([("c", "P1", "Q0000100")], removed=False)  # its stored vectors are of before
    one.refresh()
    placed: list[int] = []
    place = Placer.place

    def counted(self: Placer, neighbours: Floats, relations: Rows) -> Placement:
        placed.append(len(relations))
        return place(self, neighbours, relations)

    monkeypatch.setattr(Placer, "place", counted)
    other = model_of(toy, store)
    assert placed == [2]  # "c" alone, by its two facts
    for which in ("as_query", "as_answer"):
        found, expected = (getattr(m.engine.amendments.overlay, which) for m in (other, one))
        np.testing.assert_array_equal(found, expected)
    assert other.engine.amendments.overlay.is_candidate.all()


def test_vectors_of_another_model_are_not_taken(toy: Toy, store: FactStore, tmp_path: Path) -> None:
    one = model_of(toy, store)
    add_entities(store, ["a", "b"])
    one.refresh()
    one.keep()
    other = toy_bundle(tmp_path / "other", entities=E, relations=R, seed=5)
    overlay = model_of(other, store).engine.amendments.overlay
    assert overlay.is_candidate.all()
    assert (overlay.as_query != one.engine.amendments.overlay.as_query).any()


def test_two_threads_that_refresh_lose_no_entity(toy: Toy, store: FactStore) -> None:
    model, ended = model_of(toy, store), threading.Event()

    def follow() -> None:
        while not ended.is_set():
            model.refresh()

    thread = threading.Thread(target=follow)
    thread.start()
    names = [f"new{number}" for number in range(30)]
    for name in names:
        add_entities(store, [name])
        model.refresh()
    ended.set()
    thread.join()
    assert model.engine.amendments.overlay.is_candidate.all()
    assert len(model.engine.amendments.overlay) == len(names)

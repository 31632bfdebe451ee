"""Known facts: both directions, look-up one by one and in bulk, and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mulde.bundle.facts.known_facts import KnownFacts
from tests.support.damage import accepted

TRIPLES = np.array([[0, 0, 3], [0, 0, 1], [2, 1, 1], [0, 0, 3], [3, 0, 1]], dtype=np.int32)


@pytest.fixture
def known(tmp_path: Path) -> KnownFacts:
    KnownFacts.build(TRIPLES, entities=5, relations=2).write(tmp_path / "known.bin")
    return KnownFacts.read(tmp_path / "known.bin")


def random_triples(seed: int, count: int = 3000) -> NDArray[np.int32]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, [40, 3, 40], size=(count, 3)).astype(np.int32)


def test_tails_of_a_query_are_sorted_and_repeated_facts_count_once(known: KnownFacts) -> None:
    assert known.of(0, 0).tolist() == [1, 3]
    assert known.of(0, 0).dtype == np.int32


def test_the_reciprocal_relation_asks_for_heads(known: KnownFacts) -> None:
    assert known.of(1, 0 + 2).tolist() == [0, 3]
    assert known.of(1, 1 + 2).tolist() == [2]


def test_a_query_without_facts_has_an_empty_answer(known: KnownFacts) -> None:
    assert known.of(4, 0).tolist() == []
    assert known.of(4, 3).tolist() == []


def test_both_directions_are_counted(known: KnownFacts) -> None:
    assert len(known) == 2 * 4


def test_many_queries_are_answered_as_one_by_one(tmp_path: Path) -> None:
    KnownFacts.build(random_triples(0, 400), 40, 3).write(tmp_path / "k")
    known = KnownFacts.read(tmp_path / "k")
    entities, relations = (array.ravel() for array in np.meshgrid(range(40), range(6)))
    offsets, tails = known.of_many(entities, relations)
    parts = np.split(tails, offsets[1:-1])
    for part, entity, relation in zip(parts, entities, relations, strict=True):
        assert part.tolist() == known.of(int(entity), int(relation)).tolist()


@pytest.mark.parametrize("count", [0, 1, 400, 5000])
def test_contains_agrees_with_a_set_of_triples(count: int) -> None:
    triples = random_triples(1, count)
    known = KnownFacts.build(triples, 40, 3)
    facts = {tuple(row) for row in triples.tolist()}
    asked = random_triples(2)
    expected = [tuple(row) in facts for row in asked.tolist()]
    assert known.contains(*asked.T).tolist() == expected
    head, relation, tail = asked.T
    assert known.contains(tail, relation + 3, head).tolist() == expected


@pytest.mark.parametrize("queries", [1, 2, 7])
def test_answers_are_marked_as_a_set_of_triples_knows_them(queries: int) -> None:
    triples, random = random_triples(1, 400), np.random.default_rng(3)
    known = KnownFacts.build(triples, 40, 3)
    facts = {tuple(row) for row in triples.tolist()}
    entities, relations = triples[:queries, 0], triples[:queries, 1]
    offsets = np.concatenate([[0], np.cumsum(random.integers(40, size=queries))])
    tails = random.integers(40, size=offsets[-1])
    owners = np.repeat(range(queries), np.diff(offsets))
    asked = np.stack([entities[owners], relations[owners], tails], axis=1)
    expected = [tuple(row) in facts for row in asked.tolist()]
    assert known.marks(entities, relations, offsets, tails).tolist() == expected
    assert any(expected)


def test_no_queries_give_no_answers(known: KnownFacts) -> None:
    offsets, tails = known.of_many(np.zeros(0, int), np.zeros(0, int))
    assert (offsets.tolist(), tails.tolist()) == ([0], [])


@pytest.mark.parametrize(("entity", "relation"), [(-1, 0), (5, 0), (0, -1), (0, 4)])
def test_rows_outside_the_graph_are_refused(known: KnownFacts, entity: int, relation: int) -> None:
    with pytest.raises(IndexError):
        known.of(entity, relation)
    with pytest.raises(IndexError):
        known.of_many(np.array([0, entity]), np.array([0, relation]))


def test_triples_outside_the_graph_are_refused() -> None:
    with pytest.raises(ValueError, match="2 entities and 9 relations"):
        KnownFacts.build(TRIPLES, 2, 9)


def test_any_changed_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "known.bin"
    KnownFacts.build(TRIPLES, 5, 2).write(path)
    for known in accepted(path, KnownFacts.read):
        _, tails = known.of_many(np.arange(4), np.arange(4))
        assert ((tails >= 0) & (tails < known.num_entities)).all()


FORMAT_1 = Path(__file__).parents[3] / "golden" / "format-1" / "known.bin"


def test_a_file_of_the_first_version_answers_as_one_of_the_second(tmp_path: Path) -> None:
    old = KnownFacts.read(FORMAT_1)
    entities, relations = (
        array.ravel()
        for array in np.meshgrid(range(old.num_entities), range(2 * old.num_relations))
    )
    offsets, tails = old.of_many(entities, relations)
    owners = np.repeat(np.arange(len(entities)), np.diff(offsets))
    facts = np.stack([entities[owners], relations[owners], tails], axis=1)
    facts = facts[facts[:, 1] < old.num_relations]
    KnownFacts.build(facts, old.num_entities, old.num_relations).write(tmp_path / "known.bin")
    new = KnownFacts.read(tmp_path / "known.bin")
    assert len(old) == len(new)
    again = new.of_many(entities, relations)
    assert (again[0].tolist(), again[1].tolist()) == (offsets.tolist(), tails.tolist())


def test_a_file_of_the_first_version_is_written_as_one_of_the_second(tmp_path: Path) -> None:
    old = KnownFacts.read(FORMAT_1)
    old.write(tmp_path / "known.bin")
    assert (tmp_path / "known.bin").read_bytes()[8] == 2
    assert KnownFacts.read(tmp_path / "known.bin").of(2, 1).tolist() == old.of(2, 1).tolist()


def test_any_changed_byte_of_the_first_version_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "known.bin"
    path.write_bytes(FORMAT_1.read_bytes())
    for known in accepted(path, KnownFacts.read):
        _, tails = known.of_many(np.arange(4), np.arange(4))
        assert ((tails >= 0) & (tails < known.num_entities)).all()


def test_a_fact_takes_few_bytes(tmp_path: Path) -> None:
    tails = np.arange(20_000)
    triples = np.stack([np.zeros_like(tails), np.zeros_like(tails), tails], axis=1)
    known = KnownFacts.build(triples, 20_000, 1)
    assert known.of(0, 0).tolist() == tails.tolist()
    # Of (0, 0, ?) one byte each; of (?, 0, t) one tail, one key and one offset each.
    assert known.tails.nbytes == 2 * 20_000
    assert known.keys.nbytes + known.offsets.nbytes <= 8 * 20_002


@pytest.mark.parametrize("tail", [-1, 5, 8])
def test_a_tail_outside_the_graph_is_no_known_fact(known: KnownFacts, tail: int) -> None:
    assert known.contains(np.array([0]), np.array([0]), np.array([tail])).tolist() == [False]

"""Paths between head and tail, against a walk by hand over every fact."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mulde.bundle.facts.amended_facts import AmendedFacts
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.facts.path_rules import NO_STEP, PathRules
from mulde.errors import DeadlineExceeded
from serving.engine.explanation import paths
from serving.engine.explanation.paths import NO_ENTITY, find_paths
from tests.support.toy import toy_rules

E, R = 14, 3
Walk = tuple[int, int]


@pytest.fixture(scope="module")
def triples() -> NDArray[np.int32]:
    """A dense random graph with self-loops and parallel facts."""
    return np.random.default_rng(5).integers(0, [E, R, E], (60, 3)).astype(np.int32)


@pytest.fixture(scope="module")
def known(triples: NDArray[np.int32]) -> KnownFacts:
    return KnownFacts.build(triples, E, R)


def rules_of(*steps: tuple[int, ...]) -> PathRules:
    """Rules of relation 0, in order of confidence; the others have none."""
    filled = [(*path, *[NO_STEP] * (3 - len(path))) for path in steps]
    one = toy_rules(R)
    count = len(steps)
    return replace(
        one,
        offsets=np.array([0, count, count, count], np.uint32),
        steps=np.array(filled, np.int32).reshape(-1, 3),
        support=np.ones(count, np.uint32),
        confidence=np.linspace(0.9, 0.1, count, dtype=np.float32),
    )


def by_hand(triples: NDArray[np.int32], head: int, tail: int, path: tuple[int, ...]) -> set[Walk]:
    """The entities between, of every walk of distinct entities."""
    edges: dict[tuple[int, int], set[int]] = {}
    for h, r, t in triples.tolist():
        edges.setdefault((h, r), set()).add(t)
        edges.setdefault((t, r + R), set()).add(h)
    fronts: set[tuple[int, ...]] = {(head,)}
    for step in path:
        fronts = {(*w, t) for w in fronts for t in edges.get((w[-1], step), ()) if t not in w}
    between = [walk[1:-1] for walk in fronts if walk[-1] == tail]
    filled = [[*walk, *[NO_ENTITY] * (2 - len(walk))] for walk in between]
    return {(first, second) for first, second in filled}


def some_paths() -> list[tuple[int, ...]]:
    generator = np.random.default_rng(6)
    return [tuple(generator.integers(0, 2 * R, n).tolist()) for n in (1, 2, 3) for _ in range(15)]


def every_pair() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    heads, tails = (part.ravel() for part in np.meshgrid(np.arange(E), np.arange(E)))
    return heads[heads != tails], tails[heads != tails]


@pytest.mark.parametrize("path", some_paths())
def test_the_walks_of_one_rule_are_those_found_by_hand(
    known: KnownFacts, triples: NDArray[np.int32], path: tuple[int, ...]
) -> None:
    heads, tails = every_pair()
    zeros = np.zeros(len(heads), np.int64)
    found = find_paths(known, rules_of(path), heads, zeros, tails, 5, lambda: None)
    for place, (head, tail) in enumerate(zip(heads.tolist(), tails.tolist(), strict=True)):
        part = slice(found.offsets[place], found.offsets[place + 1])
        expected = by_hand(triples, head, tail, path)
        assert found.counts[part].tolist() == ([len(expected)] if expected else [])
        assert {tuple(walk) for walk in found.between[part].tolist()} <= expected
    assert not found.cut.any()


def test_the_most_confident_rules_come_first_and_a_walk_counts_once(
    known: KnownFacts, triples: NDArray[np.int32]
) -> None:
    listed = list(dict.fromkeys(some_paths()))
    heads, tails = every_pair()
    zeros = np.zeros(len(heads), np.int64)
    found = find_paths(known, rules_of(*listed), heads, zeros, tails, 100, lambda: None)
    few = find_paths(known, rules_of(*listed), heads, zeros, tails, 2, lambda: None)
    for place, (head, tail) in enumerate(zip(heads.tolist(), tails.tolist(), strict=True)):
        expected, seen = Counter[int](), set[Walk]()
        for rule, path in enumerate(listed):
            fresh = by_hand(triples, head, tail, path) - seen
            seen |= fresh
            expected[rule] += len(fresh)
        part = slice(found.offsets[place], found.offsets[place + 1])
        counts = dict(zip(found.rules[part].tolist(), found.counts[part].tolist(), strict=True))
        assert counts == +expected
        assert found.rules[part].tolist() == sorted(counts)
        first = few.rules[few.offsets[place] : few.offsets[place + 1]]
        assert first.tolist() == sorted(counts)[:2]


def test_the_triple_itself_supports_nothing(triples: NDArray[np.int32]) -> None:
    only = KnownFacts.build(np.array([[0, 0, 1]]), E, R)
    found = find_paths(
        only,
        rules_of((1,), (0, 3, 0), (0, 3)),
        np.array([0]),
        np.array([0]),
        np.array([1]),
        9,
        lambda: None,
    )
    assert len(found.rules) == 0


def test_a_hub_cuts_the_walks_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = [(0, 0, other) for other in range(2, 200)] + [(other, 1, 1) for other in range(2, 200)]
    known = KnownFacts.build(np.array(hub), 200, R)
    one = np.array([0]), np.array([0]), np.array([1])
    whole = find_paths(known, rules_of((0, 1)), *one, 9, lambda: None)
    assert (whole.counts.tolist(), whole.cut.tolist()) == ([198], [False])
    monkeypatch.setattr(paths, "MOST_WALKS", 100)
    cut = find_paths(known, rules_of((0, 1)), *one, 9, lambda: None)
    assert (cut.counts.tolist(), cut.cut.tolist()) == ([], [True])


def test_a_caller_who_left_ends_the_search(known: KnownFacts) -> None:
    def left() -> None:
        raise DeadlineExceeded

    one = np.array([0])
    with pytest.raises(DeadlineExceeded):
        find_paths(known, rules_of((0,)), one, one, one + 1, 3, left)


def test_walks_over_amended_facts_are_those_over_the_same_facts_in_one_file(
    triples: NDArray[np.int32],
) -> None:
    distinct = np.unique(triples, axis=0).astype(np.int64)
    base, gone, added = distinct[:40], distinct[:8], distinct[40:]
    changed = np.concatenate([gone, added])
    both = np.concatenate([changed, changed[:, ::-1] + [0, R, 0]])
    removed = np.tile(np.arange(len(changed)) < len(gone), 2)
    amended = AmendedFacts(KnownFacts.build(base, E, R), E, both, removed)
    whole = KnownFacts.build(np.concatenate([base[8:], added]), E, R)
    heads, tails = every_pair()
    zeros = np.zeros(len(heads), np.int64)
    rules = rules_of(*dict.fromkeys(some_paths()))
    one, other = (
        find_paths(known, rules, heads, zeros, tails, 50, lambda: None)
        for known in (amended, whole)
    )
    np.testing.assert_array_equal(one.offsets, other.offsets)
    np.testing.assert_array_equal(one.rules, other.rules)
    np.testing.assert_array_equal(one.counts, other.counts)

"""Known facts with changes on top, compared with sets."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.bundle.facts.amended_facts import AmendedFacts
from mulde.bundle.facts.known_facts import KnownFacts

E, R, MORE = 30, 3, 5
"""Entities of the bundle, relations, and entities beyond the bundle."""

Fact = tuple[int, int, int]


def both(facts: set[Fact]) -> set[Fact]:
    """Return facts and their reciprocals, as (entity, relation in [0, 2R), tail)."""
    return facts | {(tail, relation + R, head) for head, relation, tail in facts}


def draw(rng: np.random.Generator, count: int, entities: int) -> set[Fact]:
    limits = [entities, R, entities]
    return {(int(h), int(r), int(t)) for h, r, t in rng.integers(0, limits, (count, 3))}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("with_base", [True, False])
def test_every_query_has_the_facts_that_sets_have(seed: int, with_base: bool) -> None:
    rng = np.random.default_rng(seed)
    base = draw(rng, 200, E) if with_base else set()
    added = draw(rng, 60, E + MORE)
    removed = {fact for fact in sorted(base) if rng.random() < 0.2} - added
    changes = sorted(both(added)) + sorted(both(removed))
    flags = np.arange(len(changes)) >= len(both(added))
    known = KnownFacts.build(np.array(sorted(base)), E, R) if with_base else None
    amended = AmendedFacts(known, E, np.array(changes, np.int64), flags)

    expected = both((base | added) - removed)
    pairs = np.array([(e, r) for e in range(E + MORE) for r in range(2 * R)])
    rng.shuffle(pairs)
    offsets, tails = amended.of_many(pairs[:, 0], pairs[:, 1])
    for i, (entity, relation) in enumerate(pairs.tolist()):
        found = tails[offsets[i] : offsets[i + 1]].tolist()
        assert found == sorted(t for e, r, t in expected if (e, r) == (entity, relation))

    triples = np.array(sorted(draw(rng, 400, E + MORE)))
    marks = amended.contains(*triples.T)
    assert marks.tolist() == [tuple(triple) in expected for triple in triples.tolist()]


def test_changes_can_lie_on_changes() -> None:
    first = AmendedFacts(None, E, np.array([[1, 0, 2], [3, 0, 4]]), np.zeros(2, bool))
    second = AmendedFacts(first, E, np.array([[1, 0, 2], [1, 0, 9]]), np.array([True, False]))
    offsets, tails = second.of_many(np.array([1, 3, 7]), np.array([0, 0, 0]))
    assert offsets.tolist() == [0, 1, 2, 2]
    assert tails.tolist() == [9, 4]

"""Changed facts in batches: what a set of facts would say after each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mulde.bundle.bundle import open_bundle
from mulde.typing import Rows
from serving.registry.changed_facts import ChangedFacts
from tests.support.toy import toy_bundle

E, R, NEW = 40, 3, 5


def test_after_every_batch_facts_are_those_of_a_set(tmp_path: Path) -> None:
    """The batches together are several times those after which all changes are sorted together."""
    toy = toy_bundle(tmp_path / "toy", entities=E, relations=R)
    bundle, rng = open_bundle(toy.path), np.random.default_rng(0)
    base = {tuple(fact) for fact in toy.triples.tolist()}
    truth, changes, seen = set(base), ChangedFacts(bundle), set(base)
    assert not changes
    for batch in range(40):
        facts = rng.integers(0, [E + NEW, R, E + NEW], size=(rng.integers(1, 200), 3))
        removed = rng.random(len(facts)) < (0.3 if batch % 3 else 0.8)
        changes.take(facts, removed)
        for fact, gone in zip(map(tuple, facts.tolist()), removed.tolist(), strict=True):
            seen.add(fact)
            (truth.discard if gone else truth.add)(fact)
        check(changes, truth, base, seen, rng)
    assert changes


def check(
    changes: ChangedFacts,
    truth: set[tuple[int, ...]],
    base: set[tuple[int, ...]],
    seen: set[tuple[int, ...]],
    rng: np.random.Generator,
) -> None:
    asked = np.array(sorted(seen))
    known = changes.known
    assert known is not None
    expected = [tuple(fact) in truth for fact in asked.tolist()]
    assert known.contains(*asked.T).tolist() == expected
    back = asked[:, 2], asked[:, 1] + R, asked[:, 0]
    assert known.contains(*back).tolist() == expected
    assert changes.counts() == (len(truth - base), len(base - truth))
    some: Rows = np.unique(rng.integers(0, E + NEW, 4))
    rows, removed = changes.of(some)
    found = set(zip(map(tuple, rows.tolist()), removed.tolist(), strict=True))
    assert len(found) == len(rows)
    wanted = {((h, r, t), False) for h, r, t in truth - base if h in some}
    wanted |= {((h, r, t), True) for h, r, t in base - truth if h in some}
    wanted |= {((t, r + R, h), False) for h, r, t in truth - base if t in some}
    wanted |= {((t, r + R, h), True) for h, r, t in base - truth if t in some}
    assert found == wanted

"""Path ranking: walks against a walk by hand, what closes a triple, and no peeking at it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mulde.graph.graph import Graph
from training.rules.mine import Mining, Rules, closing, mine
from training.rules.walks import Path, Walks

SETTINGS = Mining(sample=50, most=20)


@pytest.fixture(scope="module")
def knotted() -> Walks:
    """A dense random graph with loops and parallel edges: 14 entities, 3 relations."""
    generator = np.random.default_rng(5)
    shape = (90, 3)
    return Walks(generator.integers(0, [14, 3, 14], shape).astype(np.int32), 14, 3)


def by_hand(walks: Walks, source: int, path: Path) -> set[int]:
    """Where walks of distinct entities end, one step after the other."""
    fronts: set[tuple[int, ...]] = {(source,)}
    for direction in path:
        pairs = set(zip(*(part.tolist() for part in walks.pairs(direction)), strict=True))
        fronts = {(*w, t) for w in fronts for s, t in pairs if s == w[-1] and t not in w}
    return {walk[-1] for walk in fronts}


def some_paths() -> Iterator[Path]:
    generator = np.random.default_rng(6)
    for length in (1, 2, 3):
        for _ in range(12):
            yield tuple(generator.integers(0, 6, length).tolist())


def test_walks_end_where_walks_by_hand_end(knotted: Walks) -> None:
    sources, paths = np.arange(14), list(some_paths())
    for path, reached in zip(paths, knotted.reached(sources, paths), strict=True):
        for source, row in zip(sources.tolist(), reached.toarray(), strict=True):
            assert set(np.flatnonzero(row).tolist()) == by_hand(knotted, source, path), path
            assert set(row.tolist()) <= {0.0, 1.0}


def test_closing_paths_are_those_whose_walks_end_at_the_target(knotted: Walks) -> None:
    source, target = knotted.pairs(1)
    support, _ = closing(knotted, source, target, 1, 3)
    assert {len(path) for path in support} == {1, 2, 3}
    assert (1,) not in support
    for path in [*support, *some_paths()]:
        (reached,) = knotted.reached(source, [path])
        count = int((reached.toarray()[np.arange(len(source)), target] > 0).sum())
        assert support.get(path, 0) == (count if count > 1 and path != (1,) else 0), path


@pytest.mark.parametrize("longest", [1, 2])
def test_no_path_is_longer_than_asked(knotted: Walks, longest: int) -> None:
    assert {len(p) for p in closing(knotted, *knotted.pairs(0), 0, longest)[0]} == set(
        range(1, longest + 1)
    )


def test_logits_are_the_sum_of_the_weights_that_hold(knotted: Walks) -> None:
    rules = Rules(((0,), (1, 2)), (2.0, -0.5), 0.25)
    logits = rules.logits(knotted, np.arange(14))
    first, second = (found.toarray() for found in knotted.reached(np.arange(14), rules.paths))
    expected = np.where(first + second > 0, 2.0 * first - 0.5 * second + 0.25, 0)
    assert np.allclose(logits.toarray(), expected)


def test_a_logit_of_zero_is_still_a_logit(knotted: Walks) -> None:
    rules = Rules(((0,),), (-1.0,), 1.0)
    (reached,) = knotted.reached(np.arange(14), rules.paths)
    assert rules.logits(knotted, np.arange(14)).nnz == reached.nnz > 0


def test_nothing_to_find_gives_no_logits() -> None:
    lonely = Walks(np.array([[0, 0, 1], [2, 1, 3]], np.int32), 4, 2)
    rules = mine(lonely, 0, SETTINGS, 0)
    assert rules.paths == ()
    assert rules.logits(lonely, np.array([0, 2])).nnz == 0


def test_a_planted_rule_is_found_and_weighed_most() -> None:
    """r2 holds where r0 is followed by r1, and r1 alone says nothing."""
    generator = np.random.default_rng(7)
    pairs = np.array([(a, a + 40) for a in range(40)])
    onward = np.array([(a + 40, 80 + generator.integers(20)) for a in range(40)])
    closed = np.stack([pairs[:, 0], onward[:, 1]], 1)
    rows = [np.insert(part, 1, r, axis=1) for r, part in enumerate((pairs, onward, closed))]
    walks = Walks(np.concatenate(rows).astype(np.int32), 100, 3)
    rules = mine(walks, 2, SETTINGS, 0)
    assert rules.paths[int(np.argmax(rules.weights))] == (0, 1)


def test_what_is_said_of_a_triple_is_said_without_it(graph: Graph) -> None:
    head, relation, tail = graph.train[7].tolist()
    whole = Walks(graph.train, graph.num_entities, graph.num_relations)
    apart = Walks(np.delete(graph.train, 7, 0), graph.num_entities, graph.num_relations)
    paths = [path for path in mine(whole, relation, SETTINGS, 0).paths if path != (relation,)]
    assert paths
    for one, other in zip(
        whole.reached(np.array([head]), paths), apart.reached(np.array([head]), paths), strict=True
    ):
        assert one.toarray()[0, tail] == other.toarray()[0, tail]

"""Triples become distinct queries; nothing is lost or invented on the way."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mulde.graph.graph import Graph
from training.distillation.queries import QuerySet, both_directions

Triples = list[tuple[int, int, int]]


def naive(triples: Triples, relations: int) -> dict[tuple[int, int], list[int]]:
    """(relation, entity) -> targets, one triple after another."""
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for head, relation, tail in triples:
        found[relation, head].append(tail)
        found[relation + relations, tail].append(head)
    return found


def as_dict(queries: QuerySet) -> dict[tuple[int, int], list[int]]:
    bounds = zip(queries.offsets[:-1].tolist(), queries.offsets[1:].tolist(), strict=True)
    keys = zip(queries.relation.tolist(), queries.entity.tolist(), strict=True)
    return {
        key: queries.target[slice(*bound)].tolist() for key, bound in zip(keys, bounds, strict=True)
    }


def test_both_directions_by_hand() -> None:
    rows = both_directions(np.array([[5, 1, 6]], dtype=np.int32), relations=3)
    assert rows.tolist() == [[5, 1, 6], [6, 4, 5]]


def test_queries_by_hand() -> None:
    triples = np.array([[0, 0, 1], [0, 0, 2], [2, 0, 1]], dtype=np.int32)
    queries = QuerySet.of(triples, relations=1, entities=3)
    assert as_dict(queries) == {(0, 0): [1, 2], (0, 2): [1], (1, 1): [0, 2], (1, 2): [0]}
    assert len(queries) == 4


triple = st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 5))


@given(st.lists(triple, min_size=1, max_size=20, unique=True), st.data())
def test_grouping_and_batching_equal_a_loop(triples: Triples, data: st.DataObject) -> None:
    queries = QuerySet.of(np.array(triples, dtype=np.int32), relations=3, entities=6)
    expected = naive(triples, 3)
    assert as_dict(queries) == {key: sorted(targets) for key, targets in expected.items()}
    assert list(as_dict(queries)) == sorted(expected)
    index = data.draw(st.lists(st.integers(0, len(queries) - 1), max_size=8))
    batch = queries.batch(torch.tensor(index, dtype=torch.int64))
    keys = list(zip(batch.relation.tolist(), batch.entity.tolist(), strict=True))
    assert keys == [sorted(expected)[place] for place in index]
    assert batch.count.tolist() == [len(expected[key]) for key in keys]
    pairs = [(own, target) for own, key in enumerate(keys) for target in sorted(expected[key])]
    assert list(zip(batch.owner.tolist(), batch.target.tolist(), strict=True)) == pairs


def test_a_pass_over_all_queries_holds_every_training_triple_once_per_direction(
    graph: Graph,
) -> None:
    queries = QuerySet.of(graph.train, graph.num_relations, graph.num_entities)
    order = torch.randperm(len(queries), generator=torch.Generator().manual_seed(1))
    seen = []
    for part in torch.split(order, 7):
        batch = queries.batch(part)
        columns = (batch.entity[batch.owner], batch.relation[batch.owner], batch.target)
        seen += torch.stack(columns, 1).tolist()
    assert sorted(seen) == sorted(both_directions(graph.train, graph.num_relations).tolist())

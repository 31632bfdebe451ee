"""Made-up graphs: repeatable, in parts, with hubs and with clusters that relations move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic.graph import CHUNK, SyntheticGraph
from mulde.graph.graph import read_folder

GRAPH = SyntheticGraph(CHUNK + 1000, relations=5, facts_per_entity=1.5, seed=3)


@pytest.fixture(scope="module")
def graph() -> SyntheticGraph:
    return replace(GRAPH)


def test_equal_arguments_give_the_same_graph_and_another_seed_another(
    graph: SyntheticGraph,
) -> None:
    again, other = replace(GRAPH), replace(GRAPH, seed=4)
    assert np.array_equal(graph.all_facts(), again.all_facts())
    assert np.array_equal(graph.points(0)[0], again.points(0)[0])
    assert not np.array_equal(graph.points(0)[0], other.points(0)[0])
    assert len(graph.all_facts()) != len(other.all_facts())


def test_a_chunk_is_the_same_whatever_was_made_before_it(graph: SyntheticGraph) -> None:
    graph.facts(0)
    assert np.array_equal(graph.facts(CHUNK), replace(GRAPH).facts(CHUNK))
    assert graph.facts(CHUNK)[:, 0].min() >= CHUNK
    assert [len(graph.points(start)[1]) for start in graph.starts()] == [CHUNK, 1000]


def test_heads_have_as_many_facts_as_was_asked_for(graph: SyntheticGraph) -> None:
    assert len(graph.all_facts()) / graph.entities == pytest.approx(1.5, rel=0.03)


def test_degrees_of_tails_follow_a_power_law(graph: SyntheticGraph) -> None:
    degrees = np.bincount(graph.all_facts()[:, 2], minlength=graph.entities)
    limits = np.array([4, 8, 16, 32])
    shares = [(degrees >= limit).mean() for limit in limits]
    slope = np.polyfit(np.log(limits), np.log(shares), 1)[0]
    assert -2.2 < slope < -1.2
    assert degrees.max() > 50 * degrees.mean()


def test_a_relation_moves_a_head_nearer_to_its_tail_than_to_others(graph: SyntheticGraph) -> None:
    facts = graph.facts(0)[:4000]
    facts = facts[facts[:, 2] < CHUNK]
    spatial, moves = graph.points(0)[0], graph.moves()
    head, relation, tail = facts.T
    first, second = spatial[head].reshape(len(facts), -1, 2).transpose(2, 0, 1)
    cos, sin = np.cos(moves.angles[relation]), np.sin(moves.angles[relation])
    turned = np.stack([cos * first - sin * second, sin * first + cos * second], axis=-1)
    moved = turned.reshape(len(facts), -1) + moves.shifts[relation]
    to_tail = np.linalg.norm(moved - spatial[tail], axis=1)
    to_others = np.linalg.norm(moved - spatial[np.roll(tail, 1)], axis=1)
    assert (to_tail < to_others).mean() > 0.9


def test_the_text_is_a_graph_that_holds_every_fact_once(tmp_path: Path) -> None:
    made = SyntheticGraph(500, relations=12, facts_per_entity=6, seed=1)
    counts = made.write_text(tmp_path)
    read = read_folder(tmp_path)
    assert {name: len(read.split(name)) + read.duplicates[name] for name in counts} == counts
    assert read.relation_ids[0] == "P00"
    facts = {
        (read.entity_ids[head], read.relation_ids[relation], read.entity_ids[tail])
        for head, relation, tail in read.all_triples.tolist()
    }
    expected = {(f"Q{h:03d}", f"P{r:02d}", f"Q{t:03d}") for h, r, t in made.all_facts().tolist()}
    assert facts == expected


@pytest.mark.parametrize(
    "wrong",
    [{"entities": 63}, {"relations": 0}, {"dimension": 12}, {"facts_per_entity": 0.0}],
)
def test_what_cannot_be_made_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SyntheticGraph(**{"entities": 64, **wrong})  # type: ignore[arg-type]

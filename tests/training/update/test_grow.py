"""A scorer for a graph that has grown: what was learnt stays, what is new starts near."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mulde.graph.graph import Graph, read_folder
from tests.support.tiny import triples, write_split
from training.recipe import ScorerSettings
from training.scorers import ScoreKind, Scorer, ScorerName
from training.train import new_scorer
from training.update.grow import grow
from training.update.growth import Growth

HYPERBOLIC: list[tuple[ScorerName, ScoreKind]] = [
    ("RotH", "linear"),
    ("RefH", "distance"),
    ("TransH", "distance"),
    ("DistH", "distance"),
]
ALL: list[tuple[ScorerName, ScoreKind]] = [
    *HYPERBOLIC,
    ("ComplEx", "bilinear"),
    ("RESCAL", "bilinear"),
]
NEW = [
    ("a-new-one", "next", "e03"),
    ("e09", "copy", "e10"),
    ("e14", "copy", "e15"),
    ("e21", "copy", "e22"),
]


def graph_of(folder: Path, facts: list[tuple[str, str, str]]) -> Graph:
    folder.mkdir()
    for name, part in (("train", facts), ("valid", facts[:5]), ("test", facts[5:9])):
        write_split(folder, name, part)
    return read_folder(folder)


@pytest.fixture
def growth(tmp_path: Path) -> Growth:
    """One new entity, which sorts before the others, and one new relation."""
    old = graph_of(tmp_path / "old", triples())
    return Growth.between(old, graph_of(tmp_path / "new", [*triples(), *NEW]))


def scorers(growth: Growth, name: ScorerName, kind: ScoreKind) -> tuple[Scorer, Scorer]:
    settings = ScorerSettings(name, 8, kind, spread=0.3)
    old = new_scorer(settings, growth.old, 1)
    fresh = new_scorer(replace(settings, spread=1e-3), growth.graph, 2)
    return old, grow(old, fresh, growth, 0)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_scores_of_known_entities_and_relations_do_not_change(
    growth: Growth, name: ScorerName, kind: ScoreKind
) -> None:
    old, grown = scorers(growth, name, kind)
    entities, relations = growth.old.entity_ids, growth.old.relation_ids
    row = [growth.graph.entity_ids.index(key) for key in entities]
    direction = [growth.graph.relation_ids.index(key) for key in relations]
    direction += [place + growth.graph.num_relations for place in direction]
    for place, now in enumerate(direction):
        every = torch.arange(len(entities))
        before = old.score_shared(old.query(every, torch.full_like(every, place)))
        asked = torch.tensor(row), torch.full_like(every, now)
        after = grown.score_shared(grown.query(*asked))[:, row]
        assert torch.allclose(before, after, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), HYPERBOLIC)
def test_a_new_entity_starts_where_its_only_fact_expects_it(
    growth: Growth, name: ScorerName, kind: ScoreKind
) -> None:
    """(?, next, e03) is the only fact of the new entity, which is row 0."""
    grown = scorers(growth, name, kind)[1]
    ids, names = growth.graph.entity_ids, growth.graph.relation_ids
    assert growth.new_entities.tolist() == [0]
    asked = torch.tensor([ids.index("e03")]), torch.tensor([names.index("next") + len(names)])
    scores = grown.score_shared(grown.query(*asked))[0] - grown.tail_bias
    assert int(scores.argmax()) == 0


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_a_new_relation_starts_as_the_known_one_that_ranks_its_facts_best(
    growth: Growth, name: ScorerName, kind: ScoreKind
) -> None:
    """Entity rows are trained until a known direction, or its equal, ranks the facts first."""
    settings = ScorerSettings(name, 8, kind, spread=0.3)
    old = new_scorer(settings, growth.old, 1)
    facts = [tuple(map(growth.old.entity_ids.index, (f[0], f[2]))) for f in NEW[1:]]
    heads, tails = torch.tensor(facts).T
    _fit(old, heads, tails, 1)
    grown = grow(old, new_scorer(settings, growth.graph, 2), growth, 0)
    copied = growth.graph.relation_ids.index("copy")
    moved = [growth.graph.entity_ids.index(f[0]) for f in NEW[1:]]
    scores = grown.score_shared(grown.query(torch.tensor(moved), torch.full_like(heads, copied)))
    places = [growth.graph.entity_ids.index(f[2]) for f in NEW[1:]]
    assert growth.new_entities.tolist() == [0]
    assert (scores[:, 1:].argmax(1) + 1).tolist() == places


def _fit(scorer: Scorer, heads: torch.Tensor, tails: torch.Tensor, direction: int) -> None:
    """Train entity rows until a direction ranks the tails of heads first."""
    optimiser = torch.optim.Adam([scorer.get_parameter("entity")], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        query = scorer.query(heads, torch.full_like(heads, direction))
        torch.nn.functional.cross_entropy(scorer.score_shared(query), tails).backward()
        optimiser.step()


def test_changed_queries_are_those_that_gained_or_lost_an_answer(tmp_path: Path) -> None:
    old = graph_of(tmp_path / "old", triples())
    kept = [fact for fact in triples() if fact != ("e03", "next", "e04")]
    growth = Growth.between(old, graph_of(tmp_path / "new", [*kept, ("e00", "skip", "e07")]))
    ids, names = growth.graph.entity_ids, growth.graph.relation_ids
    reciprocal = len(names)
    queries = growth.queries
    found = {
        (ids[entity], relation)
        for entity, relation, marked in zip(
            queries.entity.tolist(), queries.relation.tolist(), growth.changed, strict=True
        )
        if marked
    }
    skip, later = names.index("skip"), names.index("next")
    asked = {("e00", skip), ("e07", skip + reciprocal)}
    # Of the removed fact's two queries, neither has another answer: both are gone.
    assert ("e03", later) not in found
    assert found == asked
    assert len(growth.removed) == 1
    assert len(growth.added) == 1


@pytest.mark.parametrize("name", ["ComplEx", "RESCAL"])
def test_solving_moves_new_entities_alone(growth: Growth, name: ScorerName) -> None:
    """The new entity is row 0."""
    settings = ScorerSettings(name, 8, "bilinear", spread=0.3)
    old = new_scorer(settings, growth.old, 1)
    mean, solved = (
        grow(old, new_scorer(settings, growth.graph, 2), growth, 0, solved=way).state_dict()
        for way in (False, True)
    )
    for table, values in mean.items():
        if table == "entity":
            assert (values[0] - solved[table][0]).norm() > 0.1 * values[0].norm()
        part = slice(1, None) if table == "entity" else slice(None)
        assert torch.equal(values[part], solved[table][part])

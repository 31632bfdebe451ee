"""Whether a served model should be updated: counts and ranks of newer facts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mulde.bundle.facts.known_facts import KnownFacts
from mulde.cli import app
from mulde.graph.reading.read import read_graph
from serving.engine.engine import Engine
from serving.local.drift import Drift, measure_drift
from tests.support.toy import Toy, toy_bundle

Names = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return toy_bundle(tmp_path_factory.mktemp("toy") / "bundle", entities=200, dimension=8)


def answers(toy: Toy, place: int, count: int) -> Names:
    """Facts that the bundle does not know: of each query, the answer at a place of the ranking."""
    with Engine.open(toy.path) as engine:
        names = engine.bundle.vocabulary
        heads = np.arange(count)
        found = engine.predict(heads, np.zeros_like(heads), 199, exclude_known=True)
        rows = [found.rows[found.owners == head][place] for head in heads.tolist()]
        ids = names.entities.ids
        relation = names.relations.ids[0]
        return [(ids[h], relation, ids[t]) for h, t in zip(heads.tolist(), rows, strict=True)]


def drift_of(toy: Toy, facts: Names) -> Drift:
    with Engine.open(toy.path) as engine:
        return measure_drift(engine, read_graph(facts).facts)


def test_newer_facts_are_ranked_as_the_engine_ranks_them_among_all_known_ones(toy: Toy) -> None:
    facts = answers(toy, 3, 30)
    found = drift_of(toy, facts)
    with Engine.open(toy.path) as engine:
        names, count = engine.bundle.vocabulary, engine.manifest.relations
        rows = np.array([names.entities.rows([h, t]) for h, _, t in facts])
        triples = np.stack([rows[:, 0], np.zeros(len(rows), np.int64), rows[:, 1]], axis=1)
        every = np.concatenate([toy.triples, triples])
        known = KnownFacts.build(every, engine.manifest.entities, count)
        entities, targets = rows.T.ravel(), rows[:, ::-1].T.ravel()
        relations = np.repeat([0, count], len(rows))
        ranks = engine.ranks(entities, relations, targets, known.of_many(entities, relations))
    assert (found.new, found.ranked, found.unseen) == (30, 30, 0)
    assert found.mrr == pytest.approx(np.mean(1 / ranks))


def test_known_facts_and_unseen_names_are_counted_and_not_ranked(toy: Toy) -> None:
    with Engine.open(toy.path) as engine:
        names = engine.bundle.vocabulary
        head, relation, tail = toy.triples[0].tolist()
        known = names.entities.ids[head], names.relations.ids[relation], names.entities.ids[tail]
    new = (known[0], "a new relation", "a new entity")
    found = drift_of(toy, [known, new])
    assert (found.facts, found.new, found.entities, found.relations) == (2, 1, 1, 1)
    assert (found.unseen, found.ranked, found.mrr) == (1, 0, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"new": 19, "unseen": 19}, None),
        ({"new": 100}, "10% of the known ones"),
        ({"unseen": 10}, "20% of the new facts"),
        ({"mrr": 0.23}, "MRR of new facts is 0.230"),
        ({"mrr": 0.23, "ranked": 19}, None),
    ],
)
def test_an_update_is_recommended_for_a_reason(
    change: dict[str, float], reason: str | None
) -> None:
    usual: dict[str, float] = {
        "facts": 50, "new": 50, "entities": 0, "relations": 0, "unseen": 0, "ranked": 50,
        "mrr": 0.3, "tested": 0.3, "known": 1000,
    }  # fmt: skip
    found = Drift(**{**usual, **change})  # type: ignore[arg-type]
    assert [text for text in found.reasons if reason and reason in text] == list(found.reasons)
    assert bool(found.reasons) == (reason is not None)


def test_the_command_prints_json_alone(toy: Toy, tmp_path: Path) -> None:
    path = tmp_path / "new.tsv"
    path.write_text("".join("\t".join(fact) + "\n" for fact in answers(toy, 0, 5)))
    given = ["drift", str(toy.path), "--facts", str(path), "--no-header", "--json"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["new"] == 5

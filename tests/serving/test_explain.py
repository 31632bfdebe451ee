"""Explain over the wire: what it says, what it refuses, and who cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mulde
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.cli import app
from mulde.client import AsyncClient, Client
from mulde.errors import InvalidArgument, UnknownEntity, Unsupported
from mulde.typing import Float64
from serving.engine.engine import Engine
from tests.support.server import ServerProcess, server
from tests.support.toy import Toy, toy_bundle

R = 3


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = tmp_path_factory.mktemp("explain") / "toy"
    return toy_bundle(folder, entities=60, relations=R, rules=True, traits=2)


@pytest.fixture(scope="module")
def process(explained: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server(explained.path, log=tmp_path_factory.mktemp("log") / "log") as started:
        yield started


@pytest.fixture
def client(process: ServerProcess) -> Iterator[Client]:
    with Client(process.address) as connected:
        yield connected


def names(toy: Toy, place: int) -> tuple[str, str, str]:
    head, relation, tail = toy.triples[place].tolist()
    return f"Q{head:07d}", f"P{relation}", f"Q{tail:07d}"


def test_every_fact_that_is_named_is_a_known_fact(client: Client, explained: Toy) -> None:
    asked = [names(explained, place) for place in range(0, 100, 3)]
    facts = {names(explained, place) for place in range(len(explained.triples))}
    found = client.explain(*(list(column) for column in zip(*asked, strict=True)), paths=20)
    paths = [path for one in found for path in one.paths]
    similar = [fact for one in found for fact, _ in one.similar]
    supporting = [fact for one in found for fact, _ in one.supporting]
    assert len(supporting) > 2 * len(asked)
    assert len(paths) > 50
    assert len(similar) == 3 * len(asked)
    for fact in [*similar, *supporting, *(fact for path in paths for fact in path.facts)]:
        assert (fact.head.id, fact.relation.id, fact.tail.id) in facts
    for (head, relation, tail), one in zip(asked, found, strict=True):
        assert (one.head.id, one.relation.id, one.tail.id) == (head, relation, tail)
        assert one.known
        shown = [(fact.head.id, fact.relation.id, fact.tail.id) for fact, _ in one.similar]
        shown += [(fact.head.id, fact.relation.id, fact.tail.id) for fact, _ in one.supporting]
        assert (head, relation, tail) not in shown
        for path in one.paths:
            ends = {path.facts[0].head.id, path.facts[0].tail.id}
            assert head in ends
            assert tail in {path.facts[-1].head.id, path.facts[-1].tail.id}


def test_scores_and_priors_are_those_of_the_engine(client: Client, explained: Toy) -> None:
    engine = Engine.open(explained.path)
    head, relation, tail = (column[:5].astype(np.int64) for column in explained.triples.T)
    tail_scores, head_scores = engine.triple_scores(head, relation, tail)
    whole = engine.scores(head, relation)[np.arange(5), tail]
    asked = zip(*(names(explained, place) for place in range(5)), strict=True)
    found = client.explain(*(list(column) for column in asked))
    np.testing.assert_array_equal([one.tail_score for one in found], tail_scores)
    np.testing.assert_array_equal([one.head_score for one in found], head_scores)
    priors = [one.tail_prior for one in found]
    np.testing.assert_allclose(priors, whole - tail_scores, atol=1e-12)
    assert len(set(priors)) > 1


def test_similar_facts_are_nearest_first_and_of_near_entities(
    client: Client, explained: Toy
) -> None:
    one = client.explain(*names(explained, 0), similar=20)[0]
    distances = [distance for _, distance in one.similar]
    assert distances == sorted(distances)
    assert min(distances) > 0
    near = {one.head.id} | {answer.id for answer in client.similar(one.head.id, k=8)[0]}
    far = {one.tail.id} | {answer.id for answer in client.similar(one.tail.id, k=8)[0]}
    assert all(fact.head.id in near or fact.tail.id in far for fact, _ in one.similar)


def test_supporting_facts_are_those_whose_query_points_as_the_triple_asks(
    client: Client, explained: Toy
) -> None:
    engine = Engine.open(explained.path)
    head, relation, tail = explained.triples[0].tolist()

    def direction(entity: int, asked: int) -> Float64:
        vector = engine.encode(np.array([entity]), np.array([asked]), priors=False).vector[0]
        spatial = vector[engine.manifest.layout.spatial].astype(np.float64)
        unit: Float64 = spatial / np.linalg.norm(spatial)
        return unit

    support: dict[tuple[str, str, str], float] = {}
    for place, (h, r, t) in enumerate(explained.triples.tolist()):
        seen = []
        for entity, other, asked in ((tail, head, relation), (head, tail, relation + R)):
            wanted = direction(other, asked)
            seen += [float(wanted @ direction(h, r))] if t == entity else []
            seen += [float(wanted @ direction(t, r + R))] if h == entity else []
        if seen and max(seen) > 0 and place:
            support[names(explained, place)] = max(seen)
    best = sorted(support, key=lambda fact: -support[fact])[:20]
    found = client.explain(*names(explained, 0), supporting=20)[0].supporting
    assert [(one.head.id, one.relation.id, one.tail.id) for one, _ in found] == best
    np.testing.assert_allclose([share for _, share in found], [support[one] for one in best], 1e-5)


def test_an_entity_of_many_facts_is_looked_at_evenly(tmp_path: Path) -> None:
    facts = [(0, relation, other) for relation in range(R) for other in range(1, 60)]
    facts += [(1, 0, 2)]
    toy = toy_bundle(tmp_path / "hub", entities=60, relations=R, facts=np.array(facts, np.int32))
    found = mulde.load(toy.path).explain("Q0000000", "P0", "Q0000003", supporting=20)[0].supporting
    assert len(found) == 20
    assert {fact.head.id for fact, _ in found} == {"Q0000000"}
    assert len({fact.relation.id for fact, _ in found}) > 1


def test_other_known_facts_are_counted(client: Client, explained: Toy) -> None:
    head, relation, tail = names(explained, 0)
    known = KnownFacts.build(explained.triples, 60, R)
    rows = explained.triples[0].tolist()
    one = client.explain(head, relation, tail)[0]
    assert one.known_tails == len(known.of(rows[0], rows[1])) - 1
    assert one.known_heads == len(known.of(rows[2], rows[1] + R)) - 1


def test_one_unknown_name_fails_its_triple_alone(client: Client, explained: Toy) -> None:
    head, relation, tail = names(explained, 0)
    found = client.explain([head, "nothing"], relation, tail)
    assert found[0].head.id == head
    with pytest.raises(UnknownEntity, match=r"heads\[1\]"):
        _ = found[1]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"paths": 21}, "paths"),
        ({"paths": -1}, "paths"),
        ({"similar": 21}, "similar"),
        ({"supporting": 21}, "supporting"),
    ],
)
def test_more_than_the_limits_is_refused(
    client: Client, explained: Toy, given: dict[str, int], field: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"{field}: expected 0 to 20"):
        client.explain(*names(explained, 0), **given)  # type: ignore[arg-type]


def test_more_triples_than_the_limit_are_refused(client: Client, explained: Toy) -> None:
    head, relation, tail = names(explained, 0)
    assert len(client.explain([head] * 100, relation, tail, paths=0, similar=0)) == 100
    with pytest.raises(InvalidArgument, match="heads: expected 1 to 100"):
        client.explain([head] * 101, relation, tail)


def test_none_of_each_leaves_scores_alone(client: Client, explained: Toy) -> None:
    one = client.explain(*names(explained, 0), paths=0, similar=0, supporting=0)[0]
    assert (one.paths, one.similar, one.supporting) == ((), (), ())


async def ask(address: str, triple: tuple[str, str, str]) -> list[str]:
    async with AsyncClient(address) as client:
        return (await client.explain(*triple))[0].sentences()


def test_all_clients_say_the_same(process: ServerProcess, client: Client, explained: Toy) -> None:
    import asyncio

    triple = names(explained, 0)
    spoken = client.explain(*triple)[0].sentences()
    assert asyncio.run(ask(process.address, triple)) == spoken
    assert mulde.load(explained.path).explain(*triple)[0].sentences() == spoken
    command = ["explain", *triple, "--server", process.address]
    printed = CliRunner().invoke(app, command)
    assert printed.exit_code == 0
    assert printed.stdout.splitlines() == spoken
    document = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert document["explanation"]["head"]["id"] == triple[0]


def test_a_bundle_without_facts_says_that_it_cannot(tmp_path: Path) -> None:
    bare = toy_bundle(tmp_path / "bare", entities=20, relations=R, known=False)
    with pytest.raises(Unsupported, match="without known facts, so that it cannot explain"):
        mulde.load(bare.path).explain("Q0000000", "P0", "Q0000001")


def test_a_bundle_without_rules_shows_similar_facts_alone(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy", entities=60, relations=R)
    found = mulde.load(toy.path).explain(*names(toy, 0))
    assert not found.has_rules
    assert found[0].paths == ()
    assert len(found[0].similar) == 3


def test_two_entities_are_enough(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy", entities=4, relations=1, rules=True)
    head, relation, tail = names(toy, 0)
    assert mulde.load(toy.path).explain(head, relation, tail)[0].head.id == head


def test_facts_that_came_to_a_running_server_explain_too(explained: Toy, tmp_path: Path) -> None:
    asked = head, _, tail = "Q0000003", "P0", "Q0000004"
    tokens = tmp_path / "tokens"
    tokens.write_text("admin secret-of-the-admin-0123456789\n")
    flags = ["--api-key-file", str(tokens), "--state", str(tmp_path / "state")]
    with (
        server(explained.path, *flags, log=tmp_path / "log") as process,
        Client(process.address, token="secret-of-the-admin-0123456789") as client,
    ):
        before = client.explain(*asked, paths=20)[0]
        client.add_facts(head, "P1", tail)
        client.add_facts("newcomer", "P2", head, new_entities=True)
        after = client.explain(*asked, paths=20)[0]
        new = client.explain("newcomer", "P0", tail, paths=20)[0]
    direct = [[fact.relation.id for fact in path.facts] for path in after.paths]
    assert ["P1"] in direct
    assert ["P1"] not in [[fact.relation.id for fact in path.facts] for path in before.paths]
    assert any(fact.head.id == "newcomer" for path in new.paths for fact in path.facts)

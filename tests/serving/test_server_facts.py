"""Facts that come after the training: added, removed, kept, and followed by every worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulde.client import Client, Scores
from mulde.client.keywords import TextKeywords
from mulde.client.requests import Request
from mulde.errors import Forbidden, InvalidArgument, RequestError, UnknownEntity
from mulde.v1 import vocabulary_pb2
from tests.support.server import ServerProcess, eventually, run_mulde, server
from tests.support.toy import Toy, toy_bundle

ADMIN = "admin-token-0123456789"
READ = "read-token-0123456789"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return toy_bundle(tmp_path_factory.mktemp("facts") / "toy", entities=300, relations=4)


def flags(folder: Path) -> list[str]:
    tokens = folder / "tokens"
    tokens.write_text(f"read {READ}\nadmin {ADMIN}\n")
    return ["--api-key-file", str(tokens), "--state", str(folder / "state")]


@pytest.fixture(scope="module")
def process(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("state")
    with server(toy.path, *flags(folder), log=folder / "log") as running:
        yield running


@pytest.fixture
def client(process: ServerProcess) -> Iterator[Client]:
    with Client(process.address, token=ADMIN) as connected:
        yield connected


def best(client: Client, head: str, relation: str, k: int = 3) -> list[str]:
    return list(client.predict_tails(head, relation, k=k, view="id").ids)


def entity_card(name: str) -> Request[vocabulary_pb2.GetEntityResponse]:
    return Request(
        "/mulde.v1.VocabularyService/GetEntity",
        vocabulary_pb2.GetEntityRequest(entity=name),
        vocabulary_pb2.GetEntityResponse,
        lambda reply: reply,
    )


def is_known(scores: Scores) -> bool:
    """Return the mark of a single triple."""
    assert scores.known is not None
    return bool(scores.known[0])


def test_an_added_fact_is_no_answer_any_more_and_a_removed_one_is_again(client: Client) -> None:
    first = best(client, "Q0000007", "P1")
    reply = client.add_facts("Q0000007", "P1", first[0])
    assert (reply.added, reply.unchanged) == (1, 0)
    assert best(client, "Q0000007", "P1", 2) == first[1:]
    marked = client.predict_tails("Q0000007", "P1", k=300, exclude_known=False)[0]
    assert {answer.id for answer in marked if answer.known} >= {first[0]}
    assert client.remove_facts("Q0000007", "P1", first[0]).removed == 1
    assert best(client, "Q0000007", "P1") == first


def test_a_fact_is_followed_in_both_directions(client: Client) -> None:
    head = client.predict_heads("P0", "Q0000009", k=1)[0][0].id
    client.add_facts(head, "P0", "Q0000009")
    assert client.predict_heads("P0", "Q0000009", k=1)[0][0].id != head
    assert is_known(client.score(head, "P0", "Q0000009")) is True


def test_a_fact_of_the_bundle_can_be_removed(toy: Toy, client: Client) -> None:
    head, relation, tail = toy.triples[0].tolist()
    fact = f"Q{head:07d}", f"P{relation}", f"Q{tail:07d}"
    assert is_known(client.score(*fact)) is True
    assert client.remove_facts(*fact).removed == 1
    assert is_known(client.score(*fact)) is False
    assert client.add_facts(*fact).added == 1
    assert is_known(client.score(*fact)) is True


def test_a_batch_can_be_repeated(client: Client) -> None:
    batch = ["Q0000001", "Q0000001", "Q0000002"], "P3", ["Q0000005", "Q0000006", "Q0000005"]
    before = client.add_facts(*batch)
    again = client.add_facts(*batch)
    assert before.added + before.unchanged == 3
    assert (again.added, again.unchanged) == (0, 3)
    missing = client.remove_facts([*batch[0], "Q0000099"], "P3", [*batch[2], "Q0000098"])
    assert missing.removed == 3
    assert list(missing.missing) == [3]


def test_one_bad_name_refuses_the_whole_batch(client: Client) -> None:
    before = client.facts()
    with pytest.raises(UnknownEntity, match=r"facts\.tails\[1\]"):
        client.add_facts(["Q0000001", "Q0000001"], "P2", ["Q0000200", "unheard"])
    with pytest.raises(InvalidArgument, match=r"facts\.heads: expected 1 to 10000 facts"):
        client.add_facts(["Q0000001"] * 10_001, "P2", "Q0000002")
    with pytest.raises(InvalidArgument, match="new entity a fact with an entity that has a row"):
        client.add_facts("new1", "P1", "new2", new_entities=True)
    assert client.facts() == before


def test_facts_need_a_folder_and_an_admin(toy: Toy, tmp_path: Path, process: ServerProcess) -> None:
    with Client(process.address, token=READ) as reader, pytest.raises(Forbidden):
        reader.add_facts("Q0000001", "P1", "Q0000002")
    alone = flags(tmp_path)[:2]
    with (
        server(toy.path, *alone, log=tmp_path / "alone") as without,
        Client(without.address, token=ADMIN) as client,
        pytest.raises(RequestError, match="started without a folder for facts"),
    ):
        client.add_facts("Q0000001", "P1", "Q0000002")


def test_the_folder_lies_outside_the_bundle(toy: Toy) -> None:
    state = str(toy.path / "state")
    result = run_mulde("serve", str(toy.path), "--check", "--state", state)
    assert result.returncode == 1
    assert "expected a folder outside the models" in result.stderr


def test_facts_survive_kill_9_and_reach_every_worker(toy: Toy, tmp_path: Path) -> None:
    given = [*flags(tmp_path), "--workers", "2"]
    with server(toy.path, *given, log=tmp_path / "one") as process:
        with Client(process.address, token=ADMIN) as client:
            first = best(client, "Q0000007", "P1")[0]
            client.add_facts("Q0000007", "P1", first)
            for _ in range(20):  # connections go to either worker
                eventually(lambda: is_followed(process.address, first))
        for child in process.children():
            kill(child)
        process.process.kill()
        process.process.wait()
    with server(toy.path, *given, log=tmp_path / "two") as process:
        for _ in range(20):
            assert is_followed(process.address, first)


def is_followed(address: str, known: str) -> bool:
    with Client(address, token=ADMIN) as client:
        return known not in best(client, "Q0000007", "P1")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_the_command_adds_lists_and_removes(process: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "new.tsv"
    file.write_text("thing 1\trelation 1\tthing 250\ncomet\trelation 2\tthing 251\n")
    env = {"MULDE_ADDRESS": process.address, "MULDE_TOKEN": ADMIN}
    refused = run_mulde("facts", "add", str(file), **env)
    assert refused.returncode == 1
    assert "no entity is called 'comet'" in refused.stderr
    labels, types = tmp_path / "labels.tsv", tmp_path / "types.tsv"
    labels.write_text("comet\tHalley\tComes again.\n")
    types.write_text("comet\tbody\n")
    texts = ["--labels", str(labels), "--types", str(types)]
    added = run_mulde("facts", "add", str(file), "--new-entities", *texts, **env)
    assert added.stdout == "added 2 facts, 0 known already, 1 new entities\n", added.stderr
    assert "Halley" in run_mulde("search", "halley", **env).stdout
    listed = run_mulde("facts", "list", **env).stdout
    assert listed.endswith("+\tQ0000001\tP1\tQ0000250\n+\tcomet\tP2\tQ0000251\n")
    assert run_mulde("facts", "remove", str(file), **env).stdout == "removed 2 facts\n"
    again = run_mulde("facts", "remove", str(file), **env)
    assert again.returncode == 1
    assert "not known: comet relation 2 thing 251" in again.stderr
    assert "not known: thing 1 relation 1 thing 250" in again.stderr


def test_a_new_entity_can_be_named_and_is_an_answer(client: Client) -> None:
    strong = [best(client, f"Q{i:07d}", "P1", 1)[0] for i in range(5)]
    added = client.add_facts(["comet"] * 5, "P1", strong, new_entities=True)
    assert list(added.new_entities) == ["comet"]
    answers = client.predict_tails("comet", "P1", k=5, view="id")
    assert not set(answers.ids) & set(strong)
    assert answers.exact.all()
    everyone = client.predict_heads("P1", strong[0], k=300, exclude_known=False)[0]
    assert "comet" in {answer.id for answer in everyone}
    assert is_known(client.score("comet", "P1", strong[0])) is True
    assert "comet" not in client.similar("comet", k=299).ids
    assert "comet" in client.similar(client.similar("comet", k=1).ids[0], k=299).ids
    client.remove_facts(["comet"] * 5, "P1", strong)
    assert client.predict_tails("comet", "P1").errors


def test_texts_of_a_new_entity_are_shown_searched_and_filtered_by(client: Client) -> None:
    texts: TextKeywords = {
        "labels": {"C/1P": "Comet Halley"},
        "descriptions": {"C/1P": "Comes every 76 years."},
        "types": {"C/1P": ["body", "visitor"]},
    }
    client.add_facts("C/1P", "P1", "Q0000004", new_entities=True, **texts)
    for typed in ("C/1P", "comet", "Comet Haley"):
        found = client.search(typed)
        assert (found.ids[0], found.labels[0]) == ("C/1P", "Comet Halley")
    assert client.predict_tails("Comet Halley", "P1", k=1)[0]
    shown = client.predict_tails("Q0000003", "P0", k=1, types=["body"])[0][0]
    assert (shown.id, shown.label) == ("C/1P", "Comet Halley")
    card = client.send(entity_card("Comet Halley"))
    assert (card.label, card.description) == ("Comet Halley", "Comes every 76 years.")
    assert list(card.types) == ["body", "visitor"]
    client.add_facts("C/1P", "P1", "Q0000004", labels={"C/1P": "1P/Halley"})
    assert client.search("1P/Halley").ids[0] == "C/1P"
    client.remove_facts("C/1P", "P1", "Q0000004")
    assert "C/1P" not in client.search("1P/Halley").ids


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ({"labels": {"Q0000001": "known"}}, r"entities\[0\]\.id: expected a new entity"),
        ({"labels": {"other": "not named"}}, r"entities\[0\]\.id: expected a new entity"),
        ({"labels": {"late": "two\nlines"}}, r"entities\[0\]\.label: expected one line"),
        ({"descriptions": {"late": "x" * 10_001}}, r"entities\[0\]\.description: expected one"),
        ({"types": {"late": ["a"] * 101}}, r"entities\[0\]\.types: expected at most 100"),
        ({"types": {"late": [""]}}, r"entities\[0\]\.types: expected one line"),
    ],
)
def test_texts_that_cannot_be_kept_are_refused(
    client: Client, texts: TextKeywords, problem: str
) -> None:
    before = client.facts()
    with pytest.raises(InvalidArgument, match=problem):
        client.add_facts("late", "P1", "Q0000004", new_entities=True, **texts)
    assert client.facts() == before


def test_metrics_count_changes_and_rank_added_facts_before_they_are_added(
    toy: Toy, tmp_path: Path
) -> None:
    with (
        server(toy.path, *flags(tmp_path), log=tmp_path / "log") as running,
        Client(running.address, token=ADMIN) as client,
    ):
        first = best(client, "Q0000007", "P1", 1)[0]
        client.add_facts("Q0000007", "P1", first)
        head, relation, tail = toy.triples[0].tolist()
        client.remove_facts(f"Q{head:07d}", f"P{relation}", f"Q{tail:07d}")
        changed = "mulde_changed_since_training"
        eventually(lambda: running.metric(changed, what="facts removed") == 1)
        assert running.metric(changed, what="facts added") == 1
        rank = "mulde_added_fact_reciprocal_rank"
        assert running.metric(f"{rank}_count") == 2
        assert 1 < running.metric(f"{rank}_sum") <= 2


def test_a_version_that_was_trained_with_the_new_entity_takes_over(tmp_path: Path) -> None:
    # Q0000300 is unknown to the first version, which has 300 entities, and row 300 of the second.
    root = tmp_path / "models"
    (root / "own").mkdir(parents=True)
    for version, entities in (("1", 300), ("2", 301)):
        path = root / "own" / version
        toy_bundle(path, entities=entities, relations=4, name="own", version=version)
    (root / "own" / "2").rename(tmp_path / "later")
    given = [*flags(tmp_path), "--workers", "2"]
    with (
        server(root, *given, log=tmp_path / "log") as process,
        Client(process.address, token=ADMIN) as client,
    ):
        assert client.predict_tails("Q0000300", "P1").errors
        client.add_facts("Q0000300", "P1", "Q0000004", new_entities=True)
        before = client.predict_tails("Q0000300", "P1", k=3)
        assert (before.model, len(before[0])) == ("own/1", 3)
        (tmp_path / "later").rename(root / "own" / "2")
        assert client.reload_model("own").changed
        after = client.predict_tails("Q0000300", "P1", k=3)
        assert (after.model, len(after[0])) == ("own/2", 3)
        assert is_known(client.score("Q0000300", "P1", "Q0000004"))
        assert client.similar("Q0000300", k=300).ids.count("Q0000300") == 0

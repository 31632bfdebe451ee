"""Hostile names, through the real server: shown wherever a name is shown, and obeyed nowhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from prometheus_client.parser import text_string_to_metric_families

from mulde.client import Client
from mulde.errors import AmbiguousLabel, InvalidArgument, MuldeError, UnknownEntity
from mulde.v1 import prediction_pb2, prediction_pb2_grpc
from tests.support.hostile import (
    DESCRIBED,
    HOSTILE,
    LONGEST_TEXT,
    RELATION,
    SHARED_NAME,
    SHARING,
    hostile_bundle,
    steering,
)
from tests.support.server import ServerProcess, eventually, run_mulde, server
from tests.support.toy import Toy, toy_bundle

HEAD = HOSTILE[0]
COUNT = len(HOSTILE) + SHARING
TRAILERS_BYTES = 8 << 10  # what clients of gRPC take by default
UNKNOWN = [f"{name[:300]}?" for name in HOSTILE]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return hostile_bundle(tmp_path_factory.mktemp("hostile") / "toy")


@pytest.fixture(scope="module")
def process(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    flags = ("--log-requests", "--log-level", "debug")
    env = {"MULDE_LIMITS__MAX_NAME_BYTES": "4096"}
    with server(toy.path, *flags, log=tmp_path_factory.mktemp("log") / "log", env=env) as started:
        yield started


@pytest.fixture(scope="module")
def client(process: ServerProcess) -> Iterator[Client]:
    with Client(process.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def stirred(process: ServerProcess, client: Client) -> ServerProcess:
    """The server after every hostile name was asked for, known and unknown."""
    client.predict_tails([*HOSTILE, *UNKNOWN], RELATION)
    client.search([name[:256] for name in HOSTILE])
    for name in HOSTILE:
        with pytest.raises(MuldeError):
            client.predict_tails(HEAD, RELATION, allow=[name[:300] + "?"])
        with pytest.raises(MuldeError):
            client.predict_tails(HEAD, RELATION, model=name)
    return process


def ask(process: ServerProcess, *arguments: str) -> str:
    """What a command prints on a terminal of 120 columns; it must succeed."""
    done = run_mulde(*arguments, "--server", process.address, COLUMNS="120")
    assert done.returncode == 0, done.stderr
    assert not steering(done.stderr)
    return done.stdout


def test_a_program_gets_every_name_as_it_is(client: Client) -> None:
    answers = client.predict_tails(list(HOSTILE), RELATION, k=COUNT, exclude_known=False)
    assert not answers.errors
    assert set(HOSTILE) <= {answer.label for answer in answers[0]}
    assert client.relations().ids == [RELATION]
    assert client.search(HOSTILE[6])[0][0] == (HOSTILE[6], HOSTILE[6])


def test_tables_show_names_and_obey_none(process: ServerProcess) -> None:
    options = ("-k", str(COUNT), "--with-known")
    table = ask(process, "query", HEAD, RELATION, *options)
    table += ask(process, "query", "?", RELATION, HOSTILE[7], *options)
    table += ask(process, "query", HEAD, "?", HOSTILE[8])
    table += ask(process, "score", HEAD, RELATION, HOSTILE[8])
    table += ask(process, "search", "<scr")
    table += ask(process, "models", "list")
    for name in (HOSTILE[0], HOSTILE[5], DESCRIBED):
        table += ask(process, "entity", name)
    assert not steering(table)
    assert "\\x1b]0;owned\\x07\\x1b[2J\\x1b[31mred" in table
    assert "\\u202egpj.exe" in table
    for whole in ("[/]", "[bold red]markup[/bold", "<script>alert(1)</script>"):
        assert whole in table  # not taken for markup


def test_a_program_gets_every_description_as_it_is(client: Client) -> None:
    whole = [name for name in HOSTILE if name != DESCRIBED]
    assert [client.entity(name).description for name in whole] == whole
    assert client.entity(DESCRIBED).description == LONGEST_TEXT


def test_json_is_one_line_of_ascii_with_the_names_in_it(process: ServerProcess) -> None:
    text = ask(process, "query", HEAD, RELATION, "-k", str(COUNT), "--with-known", "--json")
    assert text.isascii()
    assert text.count("\n") == 1
    assert not steering(text)
    assert set(HOSTILE) <= {answer["label"] for answer in json.loads(text)["answers"]}


@pytest.mark.parametrize("name", UNKNOWN, ids=range(len(UNKNOWN)))
def test_an_unknown_name_is_one_harmless_sentence(client: Client, name: str) -> None:
    with pytest.raises(UnknownEntity, match=r"^filter\.allow\[0\]: no entity is called") as caught:
        client.predict_tails(HEAD, RELATION, allow=[name])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert caught.value.name in (name, "")  # left out where it is too long to travel


@pytest.mark.parametrize("name", ["a\0b", "N" * 65_536, "\x1b" * 65_536], ids=["NUL", "N", "ESC"])
def test_names_that_no_graph_can_hold_are_refused_in_a_sentence(client: Client, name: str) -> None:
    answers = client.predict_tails([name, HEAD], RELATION)
    assert isinstance(answers.errors[0], (InvalidArgument, UnknownEntity))
    assert str(answers.errors[0]).isprintable()
    assert len(answers[1]) == 10
    with pytest.raises((InvalidArgument, UnknownEntity)):
        client.predict_tails(HEAD, RELATION, deny=[name])


def test_long_choices_do_not_crowd_out_the_error(client: Client) -> None:
    with pytest.raises(AmbiguousLabel, match="is the label of") as caught:
        client.predict_tails(HEAD, RELATION, allow=[SHARED_NAME])
    assert str(caught.value).isprintable()
    answers = client.predict_tails(SHARED_NAME, RELATION)
    assert isinstance(answers.errors[0], AmbiguousLabel)
    assert SHARING >= 10


def test_trailers_of_every_refusal_fit_a_client(process: ServerProcess) -> None:
    with grpc.insecure_channel(process.address) as channel:
        stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
        for name in [*UNKNOWN, SHARED_NAME, "\u6771" * 1300]:
            request = prediction_pb2.PredictTailsRequest(heads=[HEAD], relations=[RELATION])
            request.filter.deny.append(name)
            with pytest.raises(grpc.RpcError) as caught:
                stub.PredictTails(request)
            assert caught.value.code().name in ("NOT_FOUND", "INVALID_ARGUMENT")
            assert _bytes(caught.value) < TRAILERS_BYTES


def _bytes(error: grpc.RpcError) -> int:
    """What the trailers of an error take: the sentence percent-encoded, bytes in base64."""
    characters: str = error.details() or ""
    trailers: Any = error.trailing_metadata()
    message = sum(1 if c.isascii() else 3 * len(c.encode()) for c in characters)
    return message + sum(len(key) + 32 + 4 * len(value) // 3 for key, value in trailers)


def test_the_log_is_json_in_which_no_name_speaks(stirred: ServerProcess) -> None:
    eventually(lambda: any(line["event"] == "request" for line in stirred.log()))
    raw = stirred.raw_log
    assert raw.isascii()
    assert not steering(raw)
    events = {json.loads(line)["event"] for line in raw.splitlines()}
    assert "forged" not in events
    assert not any(name in raw for name in ("owned", "script", "jndi", "AAAA"))


def test_a_log_for_people_stays_one_line_for_each_event(toy: Toy, tmp_path: Path) -> None:
    flags = ("--log-format", "text", "--log-requests")
    with (
        server(toy.path, *flags, log=tmp_path / "log") as process,
        Client(process.address) as client,
    ):
        client.predict_tails(list(HOSTILE), RELATION)
        with pytest.raises(MuldeError):
            client.model(model=HOSTILE[3])
        process.terminate()
        lines = process.raw_log.splitlines()
    assert not steering("\n".join(lines))
    assert all(re.match(r"timestamp='[^']+' level='\w+' event='", line) for line in lines)


def test_metrics_count_without_a_name_from_a_request(stirred: ServerProcess) -> None:
    text = stirred.get("/metrics")[1]
    families = {family.name for family in text_string_to_metric_families(text)}
    assert "mulde_requests" in families
    assert "mulde_forged" not in families
    assert text.isascii()
    models = set(re.findall(r'model="([^"]*)"', text))
    assert models <= {"", "toy/1"}


def test_errors_of_the_command_line_are_harmless(process: ServerProcess) -> None:
    for arguments in (
        ("query", HOSTILE[0] + "?", RELATION),
        ("query", SHARED_NAME, RELATION),
        ("score", HEAD, HOSTILE[5], HEAD),
        ("search", "x", "--model", HOSTILE[1]),
        ("models", "load", HOSTILE[0]),
    ):
        done = run_mulde(*arguments, "--server", process.address)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert not steering(done.stdout + done.stderr)
        assert "Traceback" not in done.stderr


def test_names_in_per_query_errors_are_escaped(client: Client) -> None:
    answers = client.predict_tails(UNKNOWN, RELATION)
    assert len(answers.errors) == len(UNKNOWN)
    assert all(str(error).isprintable() for error in answers.errors.values())


def test_details_for_programs_hold_whole_names(process: ServerProcess) -> None:
    with grpc.insecure_channel(process.address) as channel:
        stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
        request = prediction_pb2.PredictTailsRequest(heads=[f"{HEAD}?"], relations=[RELATION])
        reply: Message = stub.PredictTails(request)
    (error,) = reply.answers.errors  # type: ignore[attr-defined]
    assert HEAD.encode() in error.SerializeToString()


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_path_that_is_logged_is_escaped(tmp_path: Path, form: str) -> None:
    root = tmp_path / "\u202emodels\x1b[31m\n{}"
    for version in ("1", "2"):
        toy_bundle(root / "animals" / version, name="animals", version=version)
    (root / "animals" / "2" / "card.md").write_text("damaged")
    with server(root, "--log-format", form, log=tmp_path / "log") as process:
        process.terminate()
        raw = process.raw_log
    assert "not loaded" in raw
    assert "card.md" in raw
    assert raw.isascii()
    assert not steering(raw)
    assert len(raw.splitlines()) == 4

"""Each limit of the contract at, below and above it, through the real port.

The server has small limits, so that each can be passed; what is refused gets the documented code,
the field's name and a sentence, and the server stays up.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from mulde.v1 import (
    common_pb2,
    model_pb2,
    model_pb2_grpc,
    prediction_pb2,
    prediction_pb2_grpc,
    vocabulary_pb2,
    vocabulary_pb2_grpc,
)
from tests.support.server import ServerProcess, method_of_bytes, server
from tests.support.toy import toy_bundle

E, R = 60, 3
LIMITS = {
    "MULDE_LIMITS__MAX_BATCH_SIZE": "8",
    "MULDE_LIMITS__MAX_K": "50",
    "MULDE_LIMITS__MAX_NAME_BYTES": "32",
    "MULDE_LIMITS__MAX_FILTER_NAMES": "5",
    "MULDE_LIMITS__MAX_MESSAGE_BYTES": "8192",
}
NAN, INFINITY = float("nan"), float("inf")

Send = Callable[..., Any]
Options = prediction_pb2.PredictOptions
Filter = common_pb2.CandidateFilter


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("narrow")
    toy = toy_bundle(folder / "toy", entities=E, relations=R)
    with server(toy.path, log=folder / "log", env=LIMITS) as process:
        yield process


@pytest.fixture
def channel(narrow: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(narrow.address) as opened:
        yield opened


def tails(channel: grpc.Channel, count: int = 1, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    fields = {"heads": ["Q0000001"] * count, "relations": ["P0"] * count, **fields}
    return stub.PredictTails(prediction_pb2.PredictTailsRequest(**fields))


def heads(channel: grpc.Channel, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    fields = {"tails": ["Q0000001"], "relations": ["P0"], **fields}
    return stub.PredictHeads(prediction_pb2.PredictHeadsRequest(**fields))


def relations(channel: grpc.Channel, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    fields = {"heads": ["Q0000001"], "tails": ["Q0000002"], **fields}
    return stub.PredictRelations(prediction_pb2.PredictRelationsRequest(**fields))


def score(channel: grpc.Channel, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    fields = {"heads": ["Q0000001"], "relations": ["P0"], "tails": ["Q0000002"], **fields}
    return stub.ScoreTriples(prediction_pb2.ScoreTriplesRequest(**fields))


def similar(channel: grpc.Channel, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    return stub.SimilarEntities(
        prediction_pb2.SimilarEntitiesRequest(**{"entities": ["Q0000001"], **fields})
    )


def search(channel: grpc.Channel, **fields: Any) -> Any:
    stub = vocabulary_pb2_grpc.VocabularyServiceStub(channel)
    return stub.SearchEntities(
        vocabulary_pb2.SearchEntitiesRequest(**{"queries": ["thing"], **fields})
    )


def list_relations(channel: grpc.Channel, **fields: Any) -> Any:
    stub = vocabulary_pb2_grpc.VocabularyServiceStub(channel)
    return stub.ListRelations(vocabulary_pb2.ListRelationsRequest(**fields))


def list_models(channel: grpc.Channel, **fields: Any) -> Any:
    stub = model_pb2_grpc.ModelServiceStub(channel)
    return stub.ListModels(model_pb2.ListModelsRequest(**fields))


def get_model(channel: grpc.Channel, **fields: Any) -> Any:
    stub = model_pb2_grpc.ModelServiceStub(channel)
    return stub.GetModel(model_pb2.GetModelRequest(**fields))


def names(count: int) -> list[str]:
    return [f"Q{row:07d}" for row in range(count)]


def filter_of(part: str, listed: list[str]) -> common_pb2.CandidateFilter:
    """A filter with one of its lists filled."""
    return Filter(deny=listed) if part == "deny" else Filter(**{part: {"names": listed}})


PARTS: dict[Send, tuple[str, ...]] = {
    heads: ("tails", "relations"),
    relations: ("heads", "tails"),
    score: ("heads", "relations", "tails"),
    similar: ("entities",),
    search: ("queries",),
}
"""Calls besides PredictTails, and their parallel fields, the one that counts the batch first."""


def batch(send: Send, count: int) -> dict[str, Any]:
    """The fields of a call with so many queries."""
    return {part: [NAME_OF[part]] * count for part in PARTS[send]}


NAME_OF = {
    "heads": "Q0000001",
    "relations": "P0",
    "tails": "Q0000002",
    "entities": "Q0000003",
    "queries": "thing",
}

ACCEPTED: list[tuple[str, Send, dict[str, Any]]] = [
    ("one query", tails, {}),
    ("most queries", tails, {"count": 8}),
    ("least k", tails, {"options": Options(k=1)}),
    ("greatest k", tails, {"options": Options(k=50)}),
    ("greatest k of relations", relations, {"options": Options(k=R)}),
    ("greatest k of neighbours", similar, {"k": 50}),
    ("least score", tails, {"options": Options(score_threshold=-1e300)}),
    ("least probability", tails, {"options": Options(probability_threshold=0.0)}),
    ("greatest probability", tails, {"options": Options(probability_threshold=1.0)}),
    ("longest name", tails, {"heads": ["x" * 32]}),
    ("longest name in letters of 4 bytes", tails, {"heads": ["\U0001f40d" * 8]}),
    ("most allowed", tails, {"filter": Filter(allow={"names": names(5)})}),
    ("most denied", tails, {"filter": Filter(deny=names(5))}),
    ("most types", tails, {"filter": Filter(types={"names": ["tail:P0"] * 100})}),
    ("longest search", search, {"queries": ["x" * 256]}),
    ("greatest page of a search", search, {"page_size": 100}),
    ("more than the greatest page", search, {"page_size": 101}),
    ("no page size", list_relations, {"page_size": 0}),
    ("greatest page", list_models, {"page_size": 1000}),
    ("more than the greatest page of models", list_models, {"page_size": 5000}),
    *((f"most queries, {send.__name__}", send, batch(send, 8)) for send in PARTS),
    *(
        (f"longest name, {send.__name__} {part}", send, {part: ["x" * 32]})
        for send, parts in PARTS.items()
        for part in parts
        if send is not search
    ),
    ("k of all but itself", similar, {"k": 1}),
    *(
        (f"most {part}, {send.__name__}", send, {"filter": filter_of(part, names(5))})
        for send in (heads, similar)
        for part in ("allow", "deny")
    ),
    ("a score of relations", relations, {"options": Options(score_threshold=0.0)}),
    ("least k of relations", relations, {"options": Options(k=1)}),
    ("shortest search", search, {"queries": ["t"]}),
    ("longest search in letters of 4 bytes", search, {"queries": ["\U0001f40d" * 256]}),
    ("by name and version", get_model, {"model": {"name": "toy", "version": "1"}}),
]

REFUSED: list[tuple[str, Send, dict[str, Any], str, str]] = [
    ("empty batch", tails, {"heads": [], "relations": []}, "INVALID_ARGUMENT", "heads"),
    ("empty batch of heads", heads, {"tails": [], "relations": []}, "INVALID_ARGUMENT", "tails"),
    ("empty batch of triples", score, {"heads": []}, "INVALID_ARGUMENT", "heads"),
    ("empty search", search, {"queries": []}, "INVALID_ARGUMENT", "queries"),
    ("empty similar", similar, {"entities": []}, "INVALID_ARGUMENT", "entities"),
    ("too many queries", tails, {"count": 9}, "INVALID_ARGUMENT", "heads"),
    *(
        (
            f"too many queries, {send.__name__}",
            send,
            batch(send, 9),
            "INVALID_ARGUMENT",
            parts[0],
        )
        for send, parts in PARTS.items()
    ),
    *(
        (
            f"{count} {part} beside 2, {send.__name__}",
            send,
            {**batch(send, 2), part: [NAME_OF[part]] * count},
            "INVALID_ARGUMENT",
            part,
        )
        for send, parts in PARTS.items()
        for part in parts[1:]
        for count in (1, 3)
    ),
    (
        "no answers of relations",
        relations,
        {"options": Options(k=0)},
        "INVALID_ARGUMENT",
        "options.k",
    ),
    *((f"k {k} of neighbours", similar, {"k": k}, "INVALID_ARGUMENT", "k") for k in (-1, 0)),
    *(
        (
            f"too many {part}, {send.__name__}",
            send,
            {"filter": filter_of(part, names(6))},
            "INVALID_ARGUMENT",
            f"filter.{part}",
        )
        for send in (heads, similar)
        for part in ("allow", "deny")
    ),
    *(
        (
            f"score {value}",
            relations,
            {"options": Options(score_threshold=value)},
            "INVALID_ARGUMENT",
            "options.score_threshold",
        )
        for value in (NAN, -INFINITY)
    ),
    ("negative page", list_models, {"page_size": -1}, "INVALID_ARGUMENT", "page_size"),
    ("no token", list_relations, {"page_token": "!"}, "INVALID_ARGUMENT", "page_token"),
    *(
        (f"other model, {send.__name__}", send, {"model": {"name": "other"}}, "NOT_FOUND", "")
        for send in (*PARTS, list_relations, get_model)
    ),
    ("fewer relations", tails, {"relations": []}, "INVALID_ARGUMENT", "relations"),
    ("more relations", tails, {"relations": ["P0"] * 2}, "INVALID_ARGUMENT", "relations"),
    ("more tails", relations, {"tails": names(2)}, "INVALID_ARGUMENT", "tails"),
    ("fewer tails", score, {"tails": []}, "INVALID_ARGUMENT", "tails"),
    ("no answers", tails, {"options": Options(k=0)}, "INVALID_ARGUMENT", "options.k"),
    ("negative k", tails, {"options": Options(k=-3)}, "INVALID_ARGUMENT", "options.k"),
    ("k above the limit", tails, {"options": Options(k=51)}, "INVALID_ARGUMENT", "options.k"),
    ("k over E", tails, {"options": Options(k=E + 1)}, "INVALID_ARGUMENT", "options.k"),
    ("k over R", relations, {"options": Options(k=R + 1)}, "INVALID_ARGUMENT", "options.k"),
    ("k of neighbours", similar, {"k": 51}, "INVALID_ARGUMENT", "k"),
    (
        "NaN score",
        tails,
        {"options": Options(score_threshold=NAN)},
        "INVALID_ARGUMENT",
        "options.score_threshold",
    ),
    (
        "infinite score",
        tails,
        {"options": Options(score_threshold=INFINITY)},
        "INVALID_ARGUMENT",
        "options.score_threshold",
    ),
    *(
        (
            f"probability {value}",
            tails,
            {"options": Options(probability_threshold=value)},
            "INVALID_ARGUMENT",
            "options.probability_threshold",
        )
        for value in (NAN, -0.01, 1.01)
    ),
    ("view", tails, {"options": Options(view=cast(Any, 9))}, "INVALID_ARGUMENT", "options.view"),
    ("view of neighbours", similar, {"view": 9}, "INVALID_ARGUMENT", "view"),
    (
        "too many allowed",
        tails,
        {"filter": Filter(allow={"names": names(6)})},
        "INVALID_ARGUMENT",
        "filter.allow",
    ),
    (
        "too many denied",
        tails,
        {"filter": Filter(deny=names(6))},
        "INVALID_ARGUMENT",
        "filter.deny",
    ),
    (
        "too many types",
        tails,
        {"filter": Filter(types={"names": ["tail:P0"] * 101})},
        "INVALID_ARGUMENT",
        "filter.types",
    ),
    ("no type", tails, {"filter": Filter(types={"names": ["?"]})}, "NOT_FOUND", "filter.types[0]"),
    (
        "no entity",
        tails,
        {"filter": Filter(allow={"names": ["?"]})},
        "NOT_FOUND",
        "filter.allow[0]",
    ),
    (
        "ambiguous",
        tails,
        {"filter": Filter(deny=["twin"])},
        "INVALID_ARGUMENT",
        "filter.deny[0]",
    ),
    ("negative page", search, {"page_size": -1}, "INVALID_ARGUMENT", "page_size"),
    ("negative page", list_relations, {"page_size": -1}, "INVALID_ARGUMENT", "page_size"),
    ("no token", search, {"page_token": "!"}, "INVALID_ARGUMENT", "page_token"),
    ("no token", list_models, {"page_token": "W10="}, "INVALID_ARGUMENT", "page_token"),
    (
        "token with two searches",
        search,
        {"queries": ["a", "b"], "page_token": "WzEsICIiXQ=="},
        "INVALID_ARGUMENT",
        "page_token",
    ),
    ("other model", tails, {"model": {"name": "other"}}, "NOT_FOUND", ""),
    ("other version", score, {"model": {"version": "2"}}, "NOT_FOUND", ""),
    ("path as model", get_model, {"model": {"name": "../toy"}}, "NOT_FOUND", ""),
]

FAILED_QUERIES: list[tuple[str, Send, dict[str, Any], int, str]] = [
    ("empty name", tails, {"heads": [""]}, 3, "heads[0]"),
    ("name too long", tails, {"heads": ["x" * 33]}, 3, "heads[0]"),
    ("too long in letters of 4 bytes", tails, {"heads": ["\U0001f40d" * 9]}, 3, "heads[0]"),
    *(
        (f"{what} name, {send.__name__} {part}", send, {part: [name]}, 3, f"{part}[0]")
        for send, parts in PARTS.items()
        for part in parts
        for what, name in (("empty", ""), ("long", "x" * 33))
        if send is not search
    ),
    *(
        (f"unknown, {send.__name__} {part}", send, {part: ["nobody"]}, 5, f"{part}[0]")
        for send, parts in PARTS.items()
        for part in parts
        if send is not search
    ),
    *(
        (f"ambiguous, {send.__name__} {part}", send, {part: ["twin"]}, 3, f"{part}[0]")
        for send, parts in PARTS.items()
        for part in parts
        if part not in ("relations", "queries")
    ),
    ("unknown entity", heads, {"tails": ["nobody"]}, 5, "tails[0]"),
    ("unknown relation", score, {"relations": ["nothing"]}, 5, "relations[0]"),
    ("ambiguous label", similar, {"entities": ["twin"]}, 3, "entities[0]"),
    ("search too long", search, {"queries": ["x" * 257]}, 3, "queries[0]"),
    ("empty search", search, {"queries": [""]}, 3, "queries[0]"),
]


@pytest.mark.parametrize(
    ("send", "fields"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED]
)
def test_what_is_within_the_limits_is_answered(
    channel: grpc.Channel, send: Send, fields: dict[str, Any]
) -> None:
    send(channel, **fields)


@pytest.mark.parametrize(
    ("send", "fields", "code", "field"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_what_is_not_is_refused_by_name(
    channel: grpc.Channel, send: Send, fields: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        send(channel, **fields)
    assert caught.value.code().name == code
    status = rpc_status.from_call(caught.value)
    request, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
    for detail in status.details:
        for message in (request, info):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    assert info.domain == "mulde"
    assert [one.field for one in request.field_violations] == ([field] if field else [])
    assert field in str(caught.value.details())
    send(channel)  # still up


@pytest.mark.parametrize(
    ("send", "fields", "code", "field"),
    [case[1:] for case in FAILED_QUERIES],
    ids=[case[0] for case in FAILED_QUERIES],
)
def test_a_bad_name_fails_its_query_alone(
    channel: grpc.Channel, send: Send, fields: dict[str, Any], code: int, field: str
) -> None:
    reply = send(channel, **fields)
    part: Any = getattr(reply, "answers", reply)
    assert list(part.codes) == [code]
    assert part.errors[0].status.code == code
    request = error_details_pb2.BadRequest()
    packed = [d for d in part.errors[0].status.details if d.Is(request.DESCRIPTOR)]
    packed[0].Unpack(request)
    assert request.field_violations[0].field == field


def test_a_default_k_is_no_more_than_there_is(channel: grpc.Channel) -> None:
    assert len(relations(channel, options=Options(exclude_known=False)).answers.rows) == R


@pytest.mark.parametrize(
    ("size", "code"), [(8191, "NOT_FOUND"), (8192, "NOT_FOUND"), (8193, "RESOURCE_EXHAUSTED")]
)
def test_a_message_above_the_limit_is_refused(channel: grpc.Channel, size: int, code: str) -> None:
    """Below and at it the message is read, and its type found to be none."""
    request = prediction_pb2.PredictTailsRequest(heads=["Q0000001"], relations=["P0"])
    request.filter.types.names.append("?" * (size - request.ByteSize() - 9))
    assert request.ByteSize() == size
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.PredictTails(request)
    assert caught.value.code().name == code
    tails(channel)


def test_invalid_utf8_at_the_wire_is_refused(channel: grpc.Channel) -> None:
    send = method_of_bytes(channel, "/mulde.v1.LinkPredictionService/PredictTails")
    with pytest.raises(grpc.RpcError) as caught:
        send(b"\x12\x02\xff\xfe\x1a\x02P0")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "UTF-8" in str(caught.value.details())


def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel) -> None:
    send = method_of_bytes(channel, "/mulde.v1.ModelService/GetModel")
    with pytest.raises(grpc.RpcError) as caught:
        send(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_method_that_is_none_is_unimplemented(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        method_of_bytes(channel, "/mulde.v1.LinkPredictionService/Guess")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_garbage_on_the_port_leaves_the_server_up(
    narrow: ServerProcess, channel: grpc.Channel
) -> None:
    host, port = narrow.address.split(":")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(garbage)
    tails(channel)


def test_a_probability_without_calibration_is_a_failed_precondition(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("bare")
    toy = toy_bundle(folder / "toy", known=False)
    for name in ("calibration.json", "types.bin", "search.bin"):
        (toy.path / name).unlink()
    from tests.serving.resealing import reseal

    reseal(toy.path)
    with (
        server(toy.path, log=folder / "log") as process,
        grpc.insecure_channel(process.address) as channel,
    ):
        reply = tails(channel, options=Options(exclude_known=False))
        assert reply.answers.known_facts == common_pb2.KNOWN_FACTS_UNAVAILABLE
        assert not reply.answers.probabilities
        scored = score(channel, ranks=True)
        assert scored.known_facts == common_pb2.KNOWN_FACTS_UNAVAILABLE
        assert not scored.known
        assert len(scored.tail_ranks) == 1
        for send, fields, field in (
            (tails, {"options": Options(probability_threshold=0.5)}, "probability_threshold"),
            (tails, {"filter": Filter(types={"names": ["tail:P0"]})}, "filter.types"),
            (search, {}, "queries"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                send(channel, **fields)
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert field in str(caught.value.details())

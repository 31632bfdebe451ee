"""A call beyond a limit is refused: the documented code, the field's name and a sentence."""

from __future__ import annotations

from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from mulde.v1 import common_pb2
from tests.serving.limits.calls import (
    INFINITY,
    NAME_OF,
    NAN,
    PARTS,
    E,
    Filter,
    Options,
    R,
    Send,
    batch,
    filter_of,
    get_model,
    heads,
    list_models,
    list_relations,
    names,
    relations,
    score,
    search,
    similar,
    tails,
)
from tests.serving.resealing import reseal
from tests.support.server import server
from tests.support.toy import toy_bundle

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


def test_a_probability_without_calibration_is_a_failed_precondition(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("bare")
    toy = toy_bundle(folder / "toy", known=False)
    for name in ("calibration.json", "types.bin", "search.bin"):
        (toy.path / name).unlink()
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

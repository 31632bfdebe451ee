"""A name beyond a limit, or unknown, fails its query and no other one."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from tests.serving.limits.calls import PARTS, Send, heads, score, search, similar, tails

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

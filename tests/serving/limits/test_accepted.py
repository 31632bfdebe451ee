"""What is at a limit of the contract, or within it, is answered."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.serving.limits.calls import (
    PARTS,
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
    search,
    similar,
    tails,
)

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


@pytest.mark.parametrize(
    ("send", "fields"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED]
)
def test_what_is_within_the_limits_is_answered(
    channel: grpc.Channel, send: Send, fields: dict[str, Any]
) -> None:
    send(channel, **fields)


def test_a_default_k_is_no_more_than_there_is(channel: grpc.Channel) -> None:
    assert len(relations(channel, options=Options(exclude_known=False)).answers.rows) == R

"""GetEntity and ListFacts over the real server, against the facts that the bundle was made of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import grpc
import pytest

from mulde.v1 import common_pb2, vocabulary_pb2, vocabulary_pb2_grpc
from tests.support.server import ServerProcess, server
from tests.support.toy import Toy, toy_bundle

ENTITY = 7
HEAD, TAIL = vocabulary_pb2.ENTITY_SIDE_HEAD, vocabulary_pb2.ENTITY_SIDE_TAIL


def stub(address: str) -> vocabulary_pb2_grpc.VocabularyServiceStub:
    return vocabulary_pb2_grpc.VocabularyServiceStub(grpc.insecure_channel(address))


def test_facts_are_counted_by_relation_and_side(served: ServerProcess, served_toy: Toy) -> None:
    answer = stub(served.address).GetEntity(
        vocabulary_pb2.GetEntityRequest(entity=f"thing {ENTITY}")
    )
    wanted = Counter(
        [(f"P{r}", HEAD) for h, r, t in served_toy.triples.tolist() if h == ENTITY]
        + [(f"P{r}", TAIL) for h, r, t in served_toy.triples.tolist() if t == ENTITY]
    )
    assert (answer.row, answer.id, answer.label) == (ENTITY, f"Q{ENTITY:07d}", f"thing {ENTITY}")
    assert {(one.relation, one.side): one.count for one in answer.facts} == dict(wanted)
    assert answer.known_facts == common_pb2.KNOWN_FACTS_MARKED


@pytest.mark.parametrize("side", [HEAD, TAIL])
def test_pages_of_facts_are_all_facts(
    served: ServerProcess, served_toy: Toy, side: vocabulary_pb2.EntitySide
) -> None:
    triples = served_toy.triples.tolist()
    entity, relation = next((t if side == TAIL else h, r) for h, r, t in triples)
    request = vocabulary_pb2.ListFactsRequest(
        entity=f"Q{entity:07d}", relation=f"P{relation}", side=side, page_size=1
    )
    found: list[int] = []
    while True:
        page = stub(served.address).ListFacts(request)
        found += page.rows
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    other = {
        (h if side == TAIL else t)
        for h, r, t in triples
        if r == relation and (t if side == TAIL else h) == entity
    }
    assert found == sorted(other)
    assert page.total == len(other)


def test_an_unknown_entity_is_not_found(served: ServerProcess) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub(served.address).GetEntity(vocabulary_pb2.GetEntityRequest(entity="nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_bundle_without_facts_says_so(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy", known=False)
    with server(bundle.path, log=tmp_path / "log") as one:
        card = stub(one.address).GetEntity(vocabulary_pb2.GetEntityRequest(entity="thing 1"))
        assert card.known_facts == common_pb2.KNOWN_FACTS_UNAVAILABLE
        assert list(card.facts) == []
        with pytest.raises(grpc.RpcError) as caught:
            stub(one.address).ListFacts(
                vocabulary_pb2.ListFactsRequest(entity="thing 1", relation="P0")
            )
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION

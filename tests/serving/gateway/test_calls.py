"""Every call of the contract is answered over HTTP as it is over gRPC."""

from __future__ import annotations

import json

import pytest

from mulde.client import Client
from serving.gateway.contract import Method, methods
from tests.support.gateway import GatewayProcess

HEADS = [f"Q{row:07d}" for row in range(100)]


def test_answers_are_those_of_grpc(web: GatewayProcess, client: Client) -> None:
    status, body = web.post(
        "/v1/PredictTails", {"heads": HEADS, "relations": ["P1"] * 100, "options": {"k": 5}}
    )
    answers = client.predict_tails(HEADS, "P1", k=5)
    assert status == 200
    assert answers.probabilities is not None
    assert body["answers"]["ids"] == answers.ids
    assert body["answers"]["scores"] == answers.scores.tolist()
    assert body["answers"]["probabilities"] == answers.probabilities.tolist()
    assert body["answers"]["offsets"] == answers.offsets.tolist()
    assert body["answers"]["exact"] == answers.exact.tolist()
    assert body["model"] == {"name": "toy", "version": "1"}


def test_lines_hold_the_same_answers_one_query_each(web: GatewayProcess, client: Client) -> None:
    asked = {"heads": [*HEADS, "nothing"], "relations": ["P1"] * 101, "options": {"k": 3}}
    status, headers, body = web.send(
        "/v1/PredictTails",
        json.dumps(asked).encode(),
        content_type="application/json",
        accept="application/x-ndjson",
    )
    lines = [json.loads(line) for line in body.splitlines()]
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    assert [line["query"] for line in lines] == list(range(101))
    answers = client.predict_tails(HEADS, "P1", k=3)
    told = [[(one["id"], one["score"]) for one in line["answers"]] for line in lines[:100]]
    assert told == [[(one.id, one.score) for one in ranked] for ranked in answers]
    assert lines[100]["problem"]["reason"] == "UNKNOWN_ENTITY"


def test_lines_of_a_list_are_its_elements(web: GatewayProcess) -> None:
    _, _, body = web.send("/v1/ListRelations?page_size=3", accept="application/x-ndjson")
    lines = [json.loads(line) for line in body.splitlines()]
    assert lines == [{"row": i, "id": f"P{i}", "label": f"relation {i}"} for i in range(4)]


def test_calls_that_read_take_their_request_from_the_address(web: GatewayProcess) -> None:
    status, body = web.get("/v1/SearchEntities?queries=thing+12&page_size=2&model.name=toy")
    assert status == 200
    assert body["labels"][0] == "thing 12"
    assert len(body["ids"]) == 2


def test_one_bad_query_does_not_sink_the_others(web: GatewayProcess) -> None:
    status, body = web.post(
        "/v1/PredictTails", {"heads": ["nothing", HEADS[0]], "relations": ["P0", "P0"]}
    )
    (error,) = body["answers"]["errors"]
    assert status == 200
    assert error["query"] == 0
    assert error["status"]["status"] == 404
    assert error["status"]["field"] == "heads[0]"
    assert body["answers"]["offsets"] == [0, 0, 10]


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_no_call_answers_an_empty_request_with_a_fault(web: GatewayProcess, method: Method) -> None:
    """It answers, says what is missing, or that the call needs the admin role."""
    status, body = web.get(method.path) if method.verb == "GET" else web.post(method.path, {})
    assert status in (200, 400, 403, 404), body


def test_a_request_id_comes_back(web: GatewayProcess) -> None:
    _, headers, _ = web.send("/v1/ListModels", x_request_id="mine-7")
    assert headers["x-request-id"] == "mine-7"


def test_the_openapi_document_names_every_call(web: GatewayProcess) -> None:
    _, document = web.get("/openapi.json")
    assert set(document["paths"]) == {method.path for method in methods()}

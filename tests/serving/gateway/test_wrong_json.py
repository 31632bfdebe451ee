"""JSON of a wrong shape is refused with a problem that names the field."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.gateway import GatewayProcess

GOOD = {"heads": ["Q0000000"], "relations": ["P0"]}

WRONG: dict[str, tuple[Any, str]] = {
    "a list": ([1], "request"),
    "a string": ("x", "request"),
    "null": (None, "request"),
    "a number": (7, "request"),
    "an unknown field": (GOOD | {"head": ["x"]}, "request"),
    "a name for a list": (GOOD | {"heads": "Q0000000"}, "heads"),
    "numbers for names": (GOOD | {"heads": [1]}, "heads"),
    "null in a list": (GOOD | {"heads": [None]}, "heads"),
    "null for a list": (GOOD | {"heads": None}, "heads"),
    "an object for a list": (GOOD | {"heads": {"0": "Q0000000"}}, "heads"),
    "a list for an object": (GOOD | {"options": []}, "options"),
    "a real k": (GOOD | {"options": {"k": 1.5}}, "options.k"),
    "true for k": (GOOD | {"options": {"k": True}}, "options.k"),
    "a word for k": (GOOD | {"options": {"k": "5"}}, "options.k"),
    "a huge k": (GOOD | {"options": {"k": 2**40}}, "options.k"),
    "a k out of range": (GOOD | {"options": {"k": 0}}, "options.k"),
    "a number for a switch": (GOOD | {"options": {"exact": 1}}, "options.exact"),
    "an unknown view": (GOOD | {"options": {"view": "NAME_VIEW_ALL"}}, "options.view"),
    "a number for a view": (GOOD | {"options": {"view": 2}}, "options.view"),
    "a word for a score": (GOOD | {"options": {"score_threshold": "x"}}, "options.score_threshold"),
    "a huge score": (GOOD | {"options": {"score_threshold": 10**400}}, ""),
    "names too deep": (GOOD | {"filter": {"allow": ["x"]}}, "filter.allow"),
    "no queries": ({"heads": [], "relations": []}, "heads"),
    "other lengths": ({"heads": ["Q0000000"], "relations": []}, "relations"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_shape_is_refused(web: GatewayProcess, name: str) -> None:
    value, field = WRONG[name]
    status, problem = web.post("/v1/PredictTails", value)
    assert status == 400
    assert problem["code"] == "INVALID_ARGUMENT"
    assert problem["status"] == 400
    if field:
        assert problem["field"] == field


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"heads": NaN}', b'{"heads": ["\\ud800"]}', b"[" * 100_000, b"{}{}"],
    ids=["nothing", "half", "no UTF-8", "NaN", "half a character", "deep", "two"],
)
def test_what_is_no_json_is_refused(web: GatewayProcess, body: bytes) -> None:
    status, headers, text = web.send("/v1/PredictTails", body, content_type="application/json")
    assert status == 400
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(text)["field"] == "request"


def test_a_form_is_refused(web: GatewayProcess) -> None:
    """Pages from elsewhere may send forms without being asked; they cannot send JSON."""
    status, _, body = web.send(
        "/v1/PredictTails", b"a=b", content_type="application/x-www-form-urlencoded"
    )
    assert (status, json.loads(body)["reason"]) == (415, "NOT_JSON")


def test_a_body_that_is_too_large_is_refused(web: GatewayProcess) -> None:
    status, problem = web.post("/v1/PredictTails", {"heads": ["x" * 1024] * 17_000})
    assert (status, problem["reason"]) == (413, "TOO_LARGE")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page_size=x", "page_size"),
        ("page_size=1_0", "page_size"),
        ("page_size=1&page_size=2", "page_size"),
        ("nothing=1", "request"),
        ("model=toy", "model"),
        ("page_size.x=1", "page_size.x"),
        ("page_size=-1", "page_size"),
    ],
)
def test_a_wrong_parameter_is_refused(web: GatewayProcess, query: str, field: str) -> None:
    status, problem = web.get(f"/v1/ListRelations?{query}")
    assert (status, problem["field"]) == (400, field)


def test_unknown_paths_and_verbs_are_problems(web: GatewayProcess) -> None:
    assert web.get("/v1/Nothing")[1]["reason"] == "UNKNOWN_PATH"
    status, headers, body = web.send("/v1/ListModels", b"{}", content_type="application/json")
    assert (status, json.loads(body)["reason"]) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in headers["allow"]


def test_another_host_is_refused(web: GatewayProcess) -> None:
    """A page whose own name resolves to 127.0.0.1 cannot ask (DNS rebinding)."""
    place = urlsplit(web.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
    connection.request("GET", "/v1/ListModels", headers={"host": "evil.example"})
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["reason"]) == (421, "OTHER_HOST")
    connection.close()


def test_no_origin_may_read_by_default(web: GatewayProcess) -> None:
    _, headers, _ = web.send("/v1/ListModels", origin="https://example.org")
    assert "access-control-allow-origin" not in headers

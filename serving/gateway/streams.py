"""Answers as JSON lines: one line for each query of a batch, or for each element of a list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import orjson

from mulde.errors import MuldeError
from serving.gateway.contract import Method, fields_of
from serving.gateway.messages import Json, write_message
from serving.gateway.problems import problem_of

MEDIA_TYPE = "application/x-ndjson"
_QUERIES_AT_A_TIME = 64
_BATCH = ("heads", "relations", "tails", "entities")
_ONE = {
    "rows": "row",
    "ids": "id",
    "labels": "label",
    "scores": "score",
    "probabilities": "probability",
    "plausibilities": "plausibility",
    "priors": "prior",
    "known": "known",
}
"""Packed columns of answers and lists, and their name in one answer."""

Send = Callable[[Any], Awaitable[Any]]
"""Request -> response of one call."""


def can_stream(method: Method) -> bool:
    """Whether a call has lines: its response holds answers, or a list in pages."""
    response = fields_of(method.response.DESCRIPTOR)
    return "answers" in response or "next_page_token" in response


async def lines(method: Method, request: Any, send: Send, first: Any) -> AsyncIterator[bytes]:
    """The lines of a call; an error after the first page is a line ``{"problem": ...}``.

    Args:
        method: which call.
        request: the whole request; it is changed.
        send: makes a call.
        first: response to the first part of the request, see ``parts``.
    """
    done = 0
    try:
        for number, part in enumerate(parts(method, request)):
            response = first if number == 0 else await send(part)
            if "answers" in fields_of(method.response.DESCRIPTOR):
                body = write_message(response)["answers"]
                yield _joined(_queries(body, done))
                done += len(body["codes"])
            else:
                yield _joined(_elements(write_message(response)))
                while response.next_page_token:
                    part.page_token = response.next_page_token
                    response = await send(part)
                    yield _joined(_elements(write_message(response)))
    except MuldeError as error:
        yield _joined([{"problem": problem_of(error)}])


def parts(method: Method, request: Any) -> Iterator[Any]:
    """Requests of a few queries each, which together ask the same."""
    columns = [name for name in _BATCH if name in fields_of(method.request.DESCRIPTOR)]
    lists = {name: list(getattr(request, name)) for name in columns}
    sizes = {len(values) for values in lists.values()}
    if len(sizes) != 1 or not columns or sizes == {0}:
        yield request
        return
    for start in range(0, max(sizes), _QUERIES_AT_A_TIME):
        part = type(request)()
        part.CopyFrom(request)
        for name, values in lists.items():
            del getattr(part, name)[:]
            getattr(part, name).extend(values[start : start + _QUERIES_AT_A_TIME])
        yield part


def _queries(answers: Json, done: int) -> Iterator[Json]:
    """One object for each query; ``done`` queries came before."""
    columns = {one: answers[name] for name, one in _ONE.items() if answers.get(name)}
    failed = {error["query"]: error["status"] for error in answers["errors"]}
    offsets = answers["offsets"]
    for query, code in enumerate(answers["codes"]):
        if code:
            yield {"query": done + query, "problem": failed[query]}
            continue
        rows = range(offsets[query], offsets[query + 1])
        yield {
            "query": done + query,
            "exact": answers["exact"][query],
            "shortfall": answers["shortfalls"][query],
            "answers": [{name: values[i] for name, values in columns.items()} for i in rows],
        }


def _elements(body: Json) -> Iterator[Json]:
    """The elements of one page of a list."""
    lists = [value for value in body.values() if isinstance(value, list)]
    objects = [one for values in lists for one in values if isinstance(one, dict)]
    if objects:
        yield from objects
        return
    columns = {one: body[name] for name, one in _ONE.items() if body.get(name)}
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _joined(objects: Any) -> bytes:
    return b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in objects)

"""One call: read the request, ask the server, write the answer or the problem."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mulde.client import AsyncClient
from mulde.client import requests as client_requests
from mulde.errors import Forbidden, InvalidArgument, MuldeError, Unauthenticated
from serving.gateway import problems, streams
from serving.gateway.contract import Method
from serving.gateway.held_bytes import SMALL_BYTES, HeldBytes, HeldResponse, Share, in_parts
from serving.gateway.messages import read_message, read_query, write_message
from serving.gateway.settings import GatewaySettings

_JSON = "application/json"
_BODY_S = 20.0
_MOST_HELD_BYTES = 256 << 20
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class Calls:
    """Answers the calls of the contract by asking one server."""

    def __init__(self, settings: GatewaySettings, client: AsyncClient) -> None:
        """Ask through ``client``."""
        self._settings, self._client = settings, client
        self._tokens_are_checked = False
        self._held = HeldBytes(_MOST_HELD_BYTES)

    async def answer(self, method: Method, http: Request) -> Response:
        """Answer one request over HTTP."""
        request_id, share = _request_id(http), Share(self._held)
        response: Response | None = None
        try:
            response = await self._answered(method, http, request_id, share)
        except _Refused as refused:
            response = problem_response(problems.plain_problem(*refused.args))
        except MuldeError as error:
            response = problem_response(problems.problem_of(error))
        finally:
            if not isinstance(response, HeldResponse):
                share.release()
        response.headers["x-request-id"] = request_id
        return response

    async def _answered(
        self, method: Method, http: Request, request_id: str, share: Share
    ) -> Response:
        """Ask the server; the response, whose bytes count in ``share``.

        Raises:
            MuldeError, _Refused: if the request is wrong or was refused.
        """
        metadata = [("x-request-id", request_id), *await self._authorization(http)]
        request = method.request()
        await self._read(request, method, http, share)

        async def send(part: Any) -> Any:
            call = client_requests.Request(method.full_name, part, method.response, _same)
            return await self._client.send(call, self._settings.timeout_s, metadata)

        if streams.MEDIA_TYPE in http.headers.get("accept", "") and streams.can_stream(method):
            first = await send(next(streams.parts(method, request)))
            body = streams.lines(method, request, send, first)
            return HeldResponse(body, share, streams.MEDIA_TYPE)
        answered = await send(request)
        share.add(answered.ByteSize())
        text = orjson.dumps(write_message(answered))
        if len(text) <= SMALL_BYTES:
            return Response(text, media_type=_JSON)
        share.add(len(text))
        response = HeldResponse(in_parts(text), share, _JSON)
        response.headers["content-length"] = str(len(text))
        return response

    async def _read(self, request: Any, method: Method, http: Request, share: Share) -> None:
        """Fill the request from query or body.

        Raises:
            InvalidArgument: if it is not JSON of the contract.
            _Refused: if its type or size is not taken.
            Overloaded: if the gateway holds too much already.
        """
        if method.verb == "GET":
            read_query(request, http.query_params.multi_items())
            return
        if http.query_params:
            raise InvalidArgument("request", "no query in the address of a POST", http.url.query)
        kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _JSON:
            raise _Refused(415, "NOT_JSON", f"content-type: expected {_JSON}, found {kind!r:.80}")
        try:
            body = await asyncio.wait_for(
                _body(http, self._settings.max_body_bytes, share), _BODY_S
            )
        except TimeoutError:
            raise _Refused(408, "TOO_SLOW", f"no whole body within {_BODY_S:g} s") from None
        try:
            read_message(request, orjson.loads(body))
        except orjson.JSONDecodeError as error:
            raise InvalidArgument("request", f"JSON ({error})", f"{len(body)} bytes") from None

    async def _authorization(self, http: Request) -> list[tuple[str, str]]:
        """What the caller showed, as metadata.

        Raises:
            Unauthenticated: if a token is needed and none was sent.
            Forbidden: if the gateway is exposed before a server that asks for no token.
        """
        shown = http.headers.get("authorization", "")
        if not shown.isprintable() or not shown.isascii():
            raise Unauthenticated
        if self._settings.is_exposed:
            if not shown:
                raise Unauthenticated
            await self._check_that_server_asks()
        return [("authorization", shown)] if shown else []

    async def _check_that_server_asks(self) -> None:
        """Refuse callers from elsewhere if the server lets in everybody."""
        if self._tokens_are_checked:
            return
        try:
            await self._client.send(client_requests.list_models(""))
        except Unauthenticated:
            self._tokens_are_checked = True
            return
        raise Forbidden("a gateway beyond loopback before a server without tokens")


class _Refused(Exception):  # noqa: N818 - it never leaves this file
    """What HTTP refuses before the contract is looked at: status, reason, detail."""


def problem_response(problem: dict[str, Any]) -> Response:
    """A problem as a response."""
    status = int(problem["status"])
    headers = problems.headers_of(status)
    return Response(orjson.dumps(problem), status, headers, media_type=problems.MEDIA_TYPE)


async def _body(http: Request, most_bytes: int, share: Share) -> bytes:
    """The body of a request, of at most so many bytes, which count in ``share``."""
    parts, size = [], 0
    try:
        async for part in http.stream():
            size += len(part)
            if size > most_bytes:
                raise _Refused(413, "TOO_LARGE", f"expected at most {most_bytes} bytes of body")
            share.add(len(part))
            parts.append(part)
    except ClientDisconnect:
        raise _Refused(408, "TOO_SLOW", "the caller left before the whole body came") from None
    return b"".join(parts)


def _request_id(http: Request) -> str:
    given = http.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex[:16]


def _same(response: Any) -> Any:
    return response

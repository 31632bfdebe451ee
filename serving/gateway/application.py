"""The ASGI application: calls, page, OpenAPI and probes under one set of rules for browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from mulde.client import AsyncClient
from mulde.client import requests as client_requests
from mulde.errors import MuldeError, Unauthenticated
from serving.gateway.calls import Calls, problem_response
from serving.gateway.contract import Method, methods
from serving.gateway.guard import Guard
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.problems import plain_problem
from serving.gateway.settings import GatewaySettings

FOLDER = Path(__file__).parent
OPENAPI = FOLDER / "openapi.json"

Endpoint = Callable[[Request], Awaitable[Response]]


def application(settings: GatewaySettings, metrics: GatewayMetrics) -> Starlette:
    """The gateway; it connects when it starts."""
    calls: list[Calls] = []
    clients: list[AsyncClient] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncClient(settings.server, timeout_s=settings.timeout_s) as client:
            clients.append(client)
            calls.append(Calls(settings, client))
            yield

    def endpoint(method: Method) -> Endpoint:
        async def answer(http: Request) -> Response:
            return await metrics.measure(method.name, partial(calls[0].answer, method, http))

        return answer

    async def ready(http: Request) -> Response:
        return await _readiness(clients[0])

    routes: list[Any] = [
        *(Route(one.path, endpoint(one), methods=[one.verb]) for one in methods()),
        Route("/openapi.json", partial(_file, OPENAPI)),
        Route("/livez", _alive),
        Route("/readyz", ready),
        Mount("/", StaticFiles(directory=FOLDER / "page", html=True)),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, settings=settings), *_cors(settings)],
        exception_handlers={HTTPException: _http_problem, Exception: _own_fault},
    )


def _cors(settings: GatewaySettings) -> list[Middleware]:
    if not settings.cors:
        return []
    headers = ["authorization", "content-type", "x-request-id"]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "POST"],
            allow_headers=headers,
        )
    ]


async def _file(path: Path, http: Request) -> Response:
    return FileResponse(path)


async def _alive(http: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _readiness(client: AsyncClient) -> Response:
    """Whether the server answers; one that asks for a token does."""
    try:
        await client.send(client_requests.list_models(""), 2.0)
    except Unauthenticated:
        pass
    except MuldeError as error:
        return PlainTextResponse(f"{error}\n", 503)
    return PlainTextResponse("ready\n")


async def _http_problem(http: Request, error: Exception) -> Response:
    """Such as an unknown path, or another verb."""
    assert isinstance(error, HTTPException)
    reason = {404: "UNKNOWN_PATH", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "HTTP")
    code = "NOT_FOUND" if error.status_code == 404 else ""
    detail = f"{http.method} {http.url.path}: {error.detail}"
    response = problem_response(plain_problem(error.status_code, reason, detail, code))
    response.headers.update(error.headers or {})
    return response


async def _own_fault(http: Request, error: Exception) -> Response:
    detail = "internal error; the gateway's log explains it"
    return problem_response(plain_problem(500, "INTERNAL", detail, "INTERNAL"))

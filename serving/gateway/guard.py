"""What every response says to browsers, and which hosts requests may name."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.gateway.calls import problem_response
from serving.gateway.problems import plain_problem
from serving.gateway.settings import GatewaySettings
from serving.process.addresses import is_loopback

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware around everything else.

    A gateway on loopback answers requests for this machine's names alone: a page from elsewhere
    cannot reach it under a name of its own that resolves to 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        """Guard ``app``."""
        self._app = app
        self._local = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        host = _host_of(Headers(scope=scope).get("host", ""))
        if self._local and not is_loopback(host):
            detail = "expected the host localhost or a loopback address, found another"
            response = problem_response(plain_problem(421, "OTHER_HOST", detail))
            await response(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


def _host_of(header: str) -> str:
    """A Host header without its port."""
    host, _, port = header.rpartition(":")
    return host if host and port.isdigit() else header

"""The metrics port: /metrics for Prometheus, /livez and /readyz for probes."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mulde.errors import ConfigError
from serving.process.monitoring.logs import Log

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_TIMEOUT_S = 5.0
_MAX_CONNECTIONS = 32


@dataclass(frozen=True)
class Probes:
    """What the pages tell.

    Attributes:
        metrics: the text of /metrics.
        live: whether the process works.
        ready: whether calls can be answered now, and a sentence about it.
    """

    metrics: Callable[[], bytes]
    live: Callable[[], bool]
    ready: Callable[[], tuple[bool, str]]


class HttpEndpoints:
    """A small HTTP server in a thread of its own."""

    def __init__(self, host: str, port: int, probes: Probes, log: Log) -> None:
        """Listen.

        Args:
            host: address to listen on.
            port: 0 for a free one.
            probes: what the pages tell.
            log: hears of requests that were broken off, at level debug.

        Raises:
            ConfigError: if the port cannot be bound.
        """
        try:
            self._server = _Server(host.strip("[]"), port, _handler(probes), log)
        except OSError as error:
            expected = f"a free port on {host} ({error.strerror or error})"
            raise ConfigError("server.metrics_port", expected, port) from error
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="http", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Closes its oldest connection where too many are open, so that new probes are answered."""

    daemon_threads = True

    def __init__(
        self, host: str, port: int, handler: type[BaseHTTPRequestHandler], log: Log
    ) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._open: dict[socket.socket, None] = {}
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread."""
        with self._lock:
            self._open[request] = None
            if len(self._open) > _MAX_CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write one line, and no traceback, for a request that was broken off."""
        error = sys.exc_info()[1]
        log = self._log.debug if isinstance(error, OSError) else self._log.error
        log("probe request failed", peer=str(client_address[0]), error=repr(error))


def _handler(probes: Probes) -> type[BaseHTTPRequestHandler]:
    def ready() -> tuple[int, bytes]:
        can, sentence = probes.ready()
        return (200 if can else 503), f"{sentence}\n".encode()

    def live() -> tuple[int, bytes]:
        return (200, b"ok\n") if probes.live() else (503, b"not responding\n")

    pages: dict[str, Callable[[], tuple[int, bytes]]] = {
        "/metrics": lambda: (200, probes.metrics()),
        "/livez": live,
        "/healthz": live,
        "/readyz": ready,
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_S
        server_version, sys_version = "mulde", ""  # without the version of Python

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            self._answer(*(page() if page else (404, b"not here\n")))

        def send_error(
            self, code: int, message: str | None = None, explain: str | None = None
        ) -> None:
            """Answer what is not a GET, without repeating what was sent."""
            self.close_connection = True
            self._answer(code, b"not understood\n")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", _TEXT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing: probes come every few seconds."""

    return Handler

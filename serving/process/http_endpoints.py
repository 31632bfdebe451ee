"""The metrics port: /metrics for Prometheus, /healthz and /readyz for whoever runs the server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mulde.errors import ConfigError

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_PATIENCE_S = 5.0


class HttpEndpoints:
    """A small HTTP server in a thread of its own."""

    def __init__(
        self, host: str, port: int, metrics: Callable[[], bytes], ready: Callable[[], bool]
    ) -> None:
        """Listen.

        Args:
            host: address to listen on.
            port: 0 for a free one.
            metrics: gives the text of /metrics.
            ready: whether calls can be answered now.

        Raises:
            ConfigError: if the port cannot be had.
        """
        pages = {
            "/metrics": lambda: (200, metrics()),
            "/healthz": lambda: (200, b"ok\n"),
            "/readyz": lambda: (200, b"ready\n") if ready() else (503, b"not ready\n"),
        }
        try:
            self._server = ThreadingHTTPServer((host.strip("[]"), port), _handler(pages))
        except OSError as error:
            raise ConfigError("server.metrics_port", f"a free port ({error})", port) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _handler(
    pages: dict[str, Callable[[], tuple[int, bytes]]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_S
        server_version, sys_version = "mulde", ""  # nobody is told which Python this is

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            self._answer(*(page() if page else (404, b"not here\n")))

        def send_error(
            self, code: int, message: str | None = None, explain: str | None = None
        ) -> None:
            """Say no to what is no GET, without a word of what was sent."""
            self.close_connection = True
            self._answer(code, b"not understood\n")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", _TEXT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Probes come every few seconds; the log stays readable without them."""

    return Handler

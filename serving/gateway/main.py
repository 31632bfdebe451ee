"""``mulde web``: check, listen, say where, serve until a signal."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import sys
from typing import Any

import uvicorn

from mulde.errors import ConfigError
from serving.gateway.application import application
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.settings import GatewaySettings

_MOST_CONNECTIONS = 1024
_GRACE_S = 10
_IDLE_S = 30


class _Gateway(uvicorn.Server):
    """Writes one line of JSON to stdout once it listens, and knows the signals of a service."""

    def __init__(self, config: uvicorn.Config, line: dict[str, Any]) -> None:
        super().__init__(config)
        self._line = line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(json.dumps(self._line) + "\n")
        sys.stdout.flush()

    def handle_signals(self) -> None:
        """End on SIGQUIT, read the certificate again on SIGHUP, ignore what means nothing here.

        SIGTERM and SIGINT end it too: uvicorn handles them.
        """
        signal.signal(signal.SIGQUIT, self._end)
        signal.signal(signal.SIGHUP, self._read_certificate)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    def _end(self, *_: object) -> None:
        self.should_exit = True

    def _read_certificate(self, *_: object) -> None:
        """New connections get the certificate as it is now; if it cannot be used, the former."""
        certificate, key = self.config.ssl_certfile, self.config.ssl_keyfile
        if not self.config.loaded or self.config.ssl is None or certificate is None:
            return
        try:  # a key that does not fit would leave the context in use without one
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
            self.config.ssl.load_cert_chain(certificate, key)
        except OSError as error:  # ssl.SSLError is one
            print(f"certificate not read again: {certificate}: {error}", file=sys.stderr)


def serve(settings: GatewaySettings) -> None:
    """Serve until SIGTERM, SIGINT or SIGQUIT.

    Raises:
        ConfigError: if the settings do not go together, or the port cannot be bound.
    """
    settings.check()
    listening = _listen(settings)
    port = listening.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"{'https' if settings.cert else 'http'}://{host}:{port}/"
    line = {"event": "serving", "url": url, "port": port, "server": settings.server.address}
    metrics = GatewayMetrics()
    if settings.metrics_port is not None:
        line["metrics_port"] = metrics.listen(settings.metrics_host, settings.metrics_port)
    config = uvicorn.Config(
        application(settings, metrics),
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_GRACE_S,
        ws="none",
        ssl_certfile=settings.cert,
        ssl_keyfile=settings.key,
    )
    server = _Gateway(config, line)
    server.handle_signals()
    server.run(sockets=[listening])


def _listen(settings: GatewaySettings) -> socket.socket:
    """A bound socket.

    Raises:
        ConfigError: if another program has the port, or there is no such address.
    """
    host = settings.host.strip("[]")
    try:
        family = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0][0]
        # Named as TCP, or asyncio leaves Nagle's algorithm on: 40 ms for each small response.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, settings.port))
    except OSError as error:
        expected = f"a free port on {host} ({error.strerror})"
        raise ConfigError("port", expected, settings.port) from error
    return bound

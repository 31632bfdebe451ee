"""``mulde serve``: check, start, say where, wait for the signal, drain."""

from __future__ import annotations

import json
import signal
import sys
import threading
from time import perf_counter
from typing import Any

from serving.access import Tokens
from serving.logs import open_log
from serving.metrics import exposition
from serving.model import Model
from serving.probes import Probes
from serving.server import Log, Server, new_registry
from serving.settings import Settings
from serving.tls import read_configuration


def check(settings: Settings) -> list[Model]:
    """Validate configuration and bundles as a start would, without listening.

    Returns:
        What would be served.

    Raises:
        ConfigError, BundleError: naming the setting or the file.
    """
    if settings.auth.api_key_file is not None:
        Tokens(settings.auth.api_key_file)
    if settings.tls.cert is not None:
        read_configuration(settings.tls)
    registry = new_registry(settings)
    registry.load_all()
    return registry.snapshot.models()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigError, BundleError: if it cannot start.
    """
    started = perf_counter()
    log = open_log(settings.log)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    warn_of_strangers(settings, log)
    server = Server(settings, log)
    probes = _probes(settings, server)
    try:
        server.registry.load_all()
        server.open()
        announce(settings, server.port, probes.port if probes else None)
        log.info("serving", port=server.port, seconds=round(perf_counter() - started, 3))
        for (name, version), reason in server.registry.snapshot.failures.items():
            log.warning("not loaded", model=f"{name}/{version}", reason=reason)
        stop.wait()
        log.info("draining", grace_s=settings.server.grace_s)
    finally:
        done = server.drain()
        if probes is not None:
            probes.close()
        log.info("stopped", all_answered=done)


def _probes(settings: Settings, server: Server) -> Probes | None:
    if settings.server.metrics_port < 0:
        return None
    registry = server.metrics.registry
    return Probes(
        settings.server.host,
        settings.server.metrics_port,
        lambda: exposition(registry),
        lambda: server.gate.is_open,
    )


def announce(settings: Settings, grpc_port: int, metrics_port: int | None) -> None:
    """One line of JSON on stdout: where the server listens."""
    line: dict[str, Any] = {"event": "serving", "host": settings.server.host}
    line |= {"grpc_port": grpc_port, "metrics_port": metrics_port}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def warn_of_strangers(settings: Settings, log: Log) -> None:
    """Say so when others than this machine can reach a server that is open to everybody."""
    if settings.server.is_loopback():
        return
    if settings.tls.cert is None:
        log.warning("listening beyond loopback without TLS", host=settings.server.host)
    if settings.auth.api_key_file is None:
        log.warning("listening beyond loopback without tokens", host=settings.server.host)

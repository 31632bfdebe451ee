"""``mulde serve``: check, start, say where, wait for the signal, drain."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any, NoReturn

from serving.process.http_endpoints import HttpEndpoints
from serving.process.logs import Log, open_log
from serving.process.server import Server, tuning_of
from serving.process.settings import Settings
from serving.process.shutdown import ShutdownEvent
from serving.process.tls import read_configuration
from serving.process.tokens import Tokens
from serving.process.workers.supervisor import Supervisor
from serving.registry.manager import Director
from serving.registry.model import Model
from serving.registry.registry import Registry
from serving.registry.repository import Repository


def check(settings: Settings) -> list[Model]:
    """Validate configuration and bundles as a start would, without listening.

    Returns:
        What would be served.

    Raises:
        ConfigError, BundleError: naming the setting or the file.
    """
    check_files(settings)
    registry = Registry(tuning_of(settings))
    _director(settings, registry).start()
    return list(registry.snapshot.models.values())


def check_files(settings: Settings) -> None:
    """Read the files of TLS and tokens once.

    Raises:
        ConfigError: naming the file.
    """
    if settings.auth.api_key_file is not None:
        Tokens(settings.auth.api_key_file)
    if settings.tls.cert is not None:
        read_configuration(settings.tls)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigError, BundleError: if it cannot start.
    """
    log = open_log(settings.log)
    warn_of_strangers(settings, log)
    check_files(settings)
    stop = ShutdownEvent()
    stop.on(signal.SIGTERM, signal.SIGINT)
    if settings.server.workers == 1:
        _serve_alone(settings, log, stop)
    else:
        _serve_together(settings, log, stop)


def _serve_alone(settings: Settings, log: Log, stop: ShutdownEvent) -> None:
    started = perf_counter()
    directors: list[Director] = []

    def changes(registry: Registry) -> Director:
        directors.append(_director(settings, registry))
        return directors[0]

    server = Server(settings, log, changes)
    probes = _probes(settings, server.metrics.exposition, lambda: server.gate.is_open)
    try:
        directors[0].start()
        server.open()
        _announce(settings, log, server.port, probes, directors[0], perf_counter() - started)
    except BaseException:
        server.stop()
        raise
    stop.wait()
    log.info("draining", grace_s=settings.server.grace_s)
    done = server.drain()
    if probes is not None:
        probes.close()
    log.info("stopped", all_answered=done)
    leave(0 if done else 1)


def _serve_together(settings: Settings, log: Log, stop: ShutdownEvent) -> None:
    started = perf_counter()
    with Supervisor(settings, log) as supervisor:
        probes = _probes(settings, supervisor.metrics, lambda: supervisor.is_ready)
        try:
            supervisor.start()
            port, director = supervisor.port, supervisor.director
            _announce(settings, log, port, probes, director, perf_counter() - started)
            supervisor.watch(stop)
            log.info("draining", grace_s=settings.server.grace_s)
        finally:
            done = supervisor.drain()
            if probes is not None:
                probes.close()
            log.info("stopped", all_answered=done)


def _director(settings: Settings, registry: Registry) -> Director:
    return Director(Repository(settings.models.dir), registry.apply, settings.models.pins)


def _probes(
    settings: Settings, metrics: Callable[[], bytes], ready: Callable[[], bool]
) -> HttpEndpoints | None:
    if settings.server.metrics_port < 0:
        return None
    return HttpEndpoints(settings.server.host, settings.server.metrics_port, metrics, ready)


def _announce(
    settings: Settings,
    log: Log,
    port: int,
    probes: HttpEndpoints | None,
    director: Director,
    seconds: float,
) -> None:
    """One line of JSON on stdout says where the server listens; the log says the rest."""
    line: dict[str, Any] = {"event": "serving", "host": settings.server.host, "grpc_port": port}
    line["metrics_port"] = probes.port if probes else None
    line["models"] = director.lineup.keys()
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    log.info("serving", port=port, models=line["models"], seconds=round(seconds, 3))
    for (name, version), reason in director.lineup.failures.items():
        log.warning("not loaded", model=f"{name}/{version}", reason=reason)


def leave(status: int) -> NoReturn:
    """End the process now, whatever its threads and connections do."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def warn_of_strangers(settings: Settings, log: Log) -> None:
    """Say so when others than this machine can reach a server that is open to everybody."""
    if settings.server.is_loopback():
        return
    if settings.tls.cert is None:
        log.warning("listening beyond loopback without TLS", host=settings.server.host)
    if settings.auth.api_key_file is None:
        log.warning("listening beyond loopback without tokens", host=settings.server.host)

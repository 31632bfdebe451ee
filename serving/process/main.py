"""``mulde serve``: check, start, say where, wait for a signal, drain."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from serving.process.access.tls import read_configuration
from serving.process.access.tokens import Tokens
from serving.process.addresses import is_loopback
from serving.process.connections import descriptor_limit, max_connections
from serving.process.monitoring.http_endpoints import HttpEndpoints, Probes
from serving.process.monitoring.logs import Log, open_log
from serving.process.monitoring.systemd import notify
from serving.process.port import reserve_port
from serving.process.server import LOOK_AFTER_S, Server, stores_of, tuning_of
from serving.process.settings import Settings, check_exposure, check_state
from serving.process.shutdown import ShutdownEvent, leave
from serving.process.workers.run_folder import RunFolder
from serving.process.workers.supervisor import Supervisor
from serving.registry.manager import LocalModels, ModelManager
from serving.registry.model import Model
from serving.registry.registry import Registry
from serving.registry.repository import Repository
from serving.registry.served_models import ServedModels


def check(settings: Settings) -> list[Model]:
    """Validate settings and bundles as a start would, without listening.

    Returns:
        What would be served.

    Raises:
        ConfigError, BundleError: naming the setting or the file.
    """
    check_files(settings)
    stores = stores_of(settings)
    registry = Registry(tuning_of(settings), loaded=None if stores is None else stores.attach)
    _manager(settings, registry).start()
    return list(registry.snapshot.models.values())


def check_files(settings: Settings) -> None:
    """Check address and limits, and read the files of TLS and tokens once.

    Raises:
        ConfigError: naming the setting or the file.
    """
    check_exposure(settings)
    check_state(settings)
    max_connections(settings.server.max_connections, descriptor_limit())
    if settings.auth.api_key_file is not None:
        Tokens(settings.auth.api_key_file)
    if settings.tls.cert is not None:
        read_configuration(settings.tls)


def serve(settings: Settings, read: Callable[[], Settings] | None = None) -> None:
    """Serve until SIGTERM, SIGINT or SIGQUIT.

    Args:
        settings: of the server.
        read: gives the settings again, after a SIGHUP; None if they cannot change.

    Raises:
        ConfigError, BundleError: if it cannot start.
    """
    log = open_log(settings.log)
    check_files(settings)
    warn_of_exposure(settings, log)
    warn_of_open_files(settings, log)
    shutdown = ShutdownEvent()
    shutdown.handle_signals()
    with reserve_port(settings.server) as port:
        run = _serve_alone if settings.server.workers == 1 else _serve_together
        settings = _with_port(settings, port)
        all_answered = run(settings, read or (lambda: settings), log, shutdown)
    leave(0 if all_answered else 1)


def _with_port(settings: Settings, port: socket.socket) -> Settings:
    server = settings.server.model_copy(update={"grpc_port": port.getsockname()[1]})
    return settings.model_copy(update={"server": server})


def _serve_alone(
    settings: Settings, read: Callable[[], Settings], log: Log, shutdown: ShutdownEvent
) -> bool:
    """Serve in this process; whether every call was answered."""
    started = perf_counter()
    managers: list[ModelManager] = []
    draining = threading.Event()

    def changes(registry: Registry) -> ModelManager:
        managers.append(_manager(settings, registry))
        return managers[0]

    server = Server(settings, log, changes)
    listening = threading.Event()

    def readiness() -> tuple[bool, str]:
        if draining.is_set():
            return False, "draining"
        if not listening.is_set():
            return False, "loading"
        ready, trouble = server.readiness()
        return ready, trouble or "ready"

    probes = Probes(server.metrics.exposition, lambda: True, readiness)
    with _endpoints(settings, log, probes) as endpoints:
        if not _wait_for(managers[0].start, shutdown):
            return True
        server.listen(settings.server.grpc_port)
        listening.set()
        shutdown.reload = lambda: server.reload(read)
        _announce(settings, log, endpoints, managers[0].served_models, perf_counter() - started)
        next_s = LOOK_AFTER_S
        while not shutdown.wait(next_s):
            notify("WATCHDOG=1")
            next_s = server.look_after()
        draining.set()
        notify("STOPPING=1")
        log.info("draining", grace_s=server.settings.server.grace_s)
        all_answered = server.drain()
        log.info("stopped", all_answered=all_answered)
    return all_answered


def _serve_together(
    settings: Settings, read: Callable[[], Settings], log: Log, shutdown: ShutdownEvent
) -> bool:
    """Serve in several worker processes; whether every call was answered."""
    started = perf_counter()
    supervisor = Supervisor(settings, RunFolder.create(), log)
    probes = Probes(supervisor.metrics, supervisor.is_live, supervisor.readiness)
    try:
        with _endpoints(settings, log, probes) as endpoints:
            if not supervisor.start(shutdown):
                return True
            shutdown.reload = lambda: supervisor.reload(read)
            _announce(settings, log, endpoints, supervisor.served_models, perf_counter() - started)
            supervisor.watch(shutdown)
            notify("STOPPING=1")
            log.info("draining", grace_s=supervisor.settings.server.grace_s)
            all_answered = supervisor.drain()
            log.info("stopped", all_answered=all_answered)
            return all_answered
    finally:
        supervisor.close()


def _wait_for(load: Callable[[], None], shutdown: ShutdownEvent) -> bool:
    """Load in a thread; False if a shutdown came first."""
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            load()
        except BaseException as error:
            errors.append(error)
        done.set()

    threading.Thread(target=run, name="load", daemon=True).start()
    while not done.wait(0.02):
        if shutdown.is_set():
            return False
    if errors:
        raise errors[0]
    return True


def _manager(settings: Settings, registry: Registry) -> ModelManager:
    models = settings.models
    return ModelManager(Repository(models.dir), LocalModels(registry.apply), models.pins)


@contextmanager
def _endpoints(settings: Settings, log: Log, probes: Probes) -> Iterator[HttpEndpoints | None]:
    server = settings.server
    if server.metrics_port < 0:
        yield None
        return
    endpoints = HttpEndpoints(server.metrics_host, server.metrics_port, probes, log)
    try:
        yield endpoints
    finally:
        endpoints.close()


def _announce(
    settings: Settings,
    log: Log,
    endpoints: HttpEndpoints | None,
    served_models: ServedModels,
    seconds: float,
) -> None:
    """Write one line of JSON to stdout that says where the server listens; log the rest."""
    server = settings.server
    line: dict[str, Any] = {"event": "serving", "host": server.host, "grpc_port": server.grpc_port}
    line["metrics_host"] = server.metrics_host
    line["metrics_port"] = endpoints.port if endpoints else None
    line["models"] = served_models.keys()
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    notify("READY=1")
    log.info("serving", port=server.grpc_port, models=line["models"], seconds=round(seconds, 3))
    for (name, version), reason in served_models.failures.items():
        log.warning("not loaded", model=f"{name}/{version}", reason=reason)


def warn_of_exposure(settings: Settings, log: Log) -> None:
    """Warn of ports beyond loopback that are open to everybody."""
    server = settings.server
    if not server.is_loopback():
        if settings.tls.cert is None:
            log.warning("listening beyond loopback without TLS", host=server.host)
        if settings.auth.api_key_file is None and settings.tls.client_ca is None:
            log.warning("listening beyond loopback without tokens", host=server.host)
    if server.metrics_port >= 0 and not is_loopback(server.metrics_host):
        log.warning("metrics beyond loopback, without TLS or tokens", host=server.metrics_host)


def warn_of_open_files(settings: Settings, log: Log) -> None:
    """Warn of secrets that other users of the machine can read."""
    for path in (settings.auth.api_key_file, settings.tls.key):
        if path is not None and path.stat().st_mode & 0o077:
            log.warning("secret that other users can read; chmod 600 it", file=str(path))

"""The gRPC server of one process: parts put together, started, drained."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mulde.errors import ConfigError, StoreError
from serving.process.access.auth import AuthInterceptor
from serving.process.access.tls import credentials
from serving.process.access.tokens import Tokens
from serving.process.addresses import address
from serving.process.connections import IdleConnections, descriptor_limit, max_connections
from serving.process.memory import give_back, keep_little
from serving.process.monitoring.health import Health
from serving.process.monitoring.logs import Log
from serving.process.monitoring.metrics import CallLog, Metrics
from serving.process.monitoring.traces import EndSpan, open_traces
from serving.process.reflection import Reflection
from serving.process.reload import reloaded
from serving.process.settings import AuthSettings, Settings
from serving.registry.batcher import Batcher
from serving.registry.fact_stores import FactStores
from serving.registry.model import Tuning
from serving.registry.registry import Registry, Snapshot
from serving.registry.served_models import ServedModels
from serving.rpc.admin import Changes
from serving.rpc.admission import AdmissionController
from serving.rpc.handlers import Services
from serving.rpc.methods import SERVICES, all_methods
from serving.rpc.request import Limits

_FOLLOW_S = 0.1
_HEALTH = ("", *(service.full_name for service in SERVICES))
LOOK_AFTER_S, LOOK_AFTER_CROWDED_S = 0.5, 0.05
"""Seconds between two looks at the connections: few, and near the most that are allowed."""
_SPARE_THREADS = 8
_KEEPALIVE_MS = 60_000
_MOST_TAKING_S = 3.0
_LAST_CALLS_S = 0.2
_MAX_METADATA_BYTES = 16 << 10
_HANDSHAKE_MS = 10_000
_IDLE_MS = 300_000
_MOST_PENDING = 4000
_MAX_STREAMS = 1000


class Server:
    """One process that answers on the gRPC port."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        changes: Callable[[Registry], Changes],
    ) -> None:
        """Put the parts together; ``listen`` begins to take calls.

        Args:
            settings: everything.
            log: where to say what happens.
            changes: makes what changes the models, given those of this process.

        Raises:
            ConfigError: if a file of TLS or tokens is wrong.
        """
        threadpool_limits(limits=1)
        if settings.models.low_memory:
            keep_little()
            settings = settings.with_low_memory()
        self.settings, self.log = settings, log
        self._connections = max_connections(settings.server.max_connections, descriptor_limit())
        traces = open_traces()
        self._end_span: EndSpan | None = None if traces is None else traces[0]
        self._send_spans: Callable[[], None] | None = None if traces is None else traces[1]
        self._tokens = self._read_tokens(settings.auth)
        self.metrics, self._runs = Metrics(lambda: self.admission.requests), 0
        max_batch = settings.limits.max_batch_size
        self._batcher = Batcher(max_batch=max_batch, observe=self.metrics.batch)
        self.admission = admission_of(settings, self._batcher.waited_s)
        self._auth = AuthInterceptor(self._tokens, log, settings.auth.max_failures_per_minute)
        self._stores = stores_of(settings)
        follow = None if self._stores is None else self._stores.attach
        self.registry = Registry(tuning_of(settings), self._tell_models, follow)
        self._health = Health()
        self._idle: IdleConnections | None = None
        # Requests in flight, half as many that are being received, calls of health and reflection,
        # and some to refuse others.
        threads = 2 * settings.server.max_concurrent_requests + _SPARE_THREADS
        pool = ThreadPoolExecutor(threads, "call")
        self._server = grpc.server(
            pool,
            # Without a thread left to refuse a call with our status, gRPC refuses it with its own.
            maximum_concurrent_rpcs=threads,
            options=_options(settings, self._connections),
        )
        self._add_services(changes(self.registry))

    def _add_services(self, changes: Changes) -> None:
        limits = limits_of(self.settings)
        batcher = self._batcher
        self._calls = CallLog(self.metrics, self.log, self.settings.log.requests, self._end_span)
        methods = all_methods(self.registry, batcher, limits, changes)
        services = Services(methods, self.admission, self._auth.of, self._calls)
        more = [self._health, Reflection()] if self.settings.server.reflection else [self._health]
        self._server.add_generic_rpc_handlers((services, *more))

    def listen(self, port: int) -> None:
        """Take calls: the models are loaded.

        Args:
            port: one that ``reserve_port`` holds, so that several processes can share it.

        Raises:
            ConfigError: if the port cannot be bound, or a file of TLS is wrong.
        """
        calm_collector()
        self._idle = IdleConnections(port, self._connections, self.admission, self.log)
        self._bind(port)
        self._health.tell(True, *_HEALTH)
        if self._stores is not None:
            follow = partial(self._follow_facts, self._stores)
            threading.Thread(target=follow, name="facts", daemon=True).start()
        self._server.start()

    def _follow_facts(self, stores: FactStores) -> None:
        """Take over changes of facts that other processes make; drop those that models carry."""
        trouble, compacted = "", ServedModels()
        while True:
            try:
                self.registry.refresh()
                served_models = self.registry.snapshot.served_models
                if served_models is not compacted:
                    stores.compact(self.registry.snapshot.models.values())
                    compacted = served_models
                trouble = ""
            except StoreError as error:
                if str(error) != trouble:
                    self.log.error("cannot follow the facts", error=str(error))
                trouble = str(error)
            time.sleep(_FOLLOW_S)

    def reload(self, read: Callable[[], Settings]) -> None:
        """Read the settings again, and take over what can change."""
        self.settings = reloaded(self.settings, read, self.log, self._take_over)

    def _take_over(self, settings: Settings) -> None:
        self._calls.log_requests = settings.log.requests
        if self._tokens is not None:
            self._tokens.keep_s = settings.auth.keep_tokens_s

    def readiness(self) -> tuple[bool, str]:
        """Whether callers can be answered, and what is wrong; empty if nothing is."""
        if self._tokens is None:
            return True, ""
        trouble = self._tokens.trouble
        return not self._tokens.has_ended, trouble

    def _read_tokens(self, auth: AuthSettings) -> Tokens | None:
        if auth.api_key_file is None:
            return None
        then = f"the former end within {auth.keep_tokens_s:g} s"
        failed = partial(self._unusable, "tokens", then)
        return Tokens(auth.api_key_file, failed, keep_s=auth.keep_tokens_s)

    def look_after(self) -> float:
        """Count, return memory, and close idle connections; seconds until the next time."""
        self.metrics.rank_added()
        self.metrics.settle()
        runs = self.metrics.runs
        is_idle = runs > self._runs and not self.admission.requests
        if is_idle or self.settings.models.low_memory:
            self._runs = runs
            give_back()
        is_crowded = self._idle is not None and self._idle.look()
        return LOOK_AFTER_CROWDED_S if is_crowded else LOOK_AFTER_S

    def _bind(self, port: int) -> None:
        where = address(self.settings.server.host, port)
        failed = partial(self._unusable, "certificate", "the former stays in use")
        secret = credentials(self.settings.tls, failed)
        try:
            if secret is None:
                self._server.add_insecure_port(where)
            else:
                self._server.add_secure_port(where, secret)
        except RuntimeError as error:
            expected = f"a free port on {self.settings.server.host}"
            raise ConfigError("server.grpc_port", expected, port) from error

    def _unusable(self, what: str, then: str, error: ConfigError) -> None:
        self.log.warning(f"changed {what} not usable; {then}", error=str(error))

    def _tell_models(self, snapshot: Snapshot) -> None:
        """Update metrics, and return the memory of versions that were freed."""
        self.metrics.models([(m, snapshot.is_current(m)) for m in snapshot.models.values()])
        give_back()

    def drain(self) -> bool:
        """Take no new calls and wait for those that run, within the grace time.

        Then the process has to end: that closes all connections, and callers without a response
        get UNAVAILABLE. gRPC's own way to stop would end their calls with CANCELLED.

        Returns:
            Whether all calls ended in time.
        """
        self._health.tell(False, *_HEALTH)
        self.admission.drain()
        done = self.admission.wait_until_empty(self.settings.server.grace_s)
        # A caller that does not read its response is not waited for.
        self.admission.wait_until_sent(_MOST_TAKING_S)
        if self._send_spans is not None:
            self._send_spans()
        # Responses arrive while this process still reads: ending earlier would lose them.
        time.sleep(_LAST_CALLS_S)
        return done


def calm_collector() -> None:
    """Have the garbage collector run rarely and over few objects; free what the start took.

    Reference counts free what a call makes, and models too. A full collection would hold up all
    calls for tens of milliseconds, so what is loaded at the start is frozen.
    """
    gc.collect()
    give_back()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)


def limits_of(settings: Settings) -> Limits:
    """The limits on requests."""
    return Limits(**settings.limits.model_dump())


def stores_of(settings: Settings) -> FactStores | None:
    """The stores of changed facts, where the server keeps any."""
    folder = settings.state.dir
    return None if folder is None else FactStores(folder)


def tuning_of(settings: Settings) -> Tuning:
    """How models are loaded."""
    return Tuning(settings.limits.max_name_bytes, settings.models.low_memory)


def admission_of(settings: Settings, waited_s: Callable[[], float]) -> AdmissionController:
    """The limits on what is in flight."""
    server = settings.server
    return AdmissionController(
        server.max_concurrent_requests,
        server.max_bulk_requests,
        server.max_unsent_bytes,
        server.max_wait_ms / 1e3,
        waited_s,
        settings.limits.max_message_bytes,
    )


def _options(settings: Settings, connections: int) -> list[tuple[str, int]]:
    # A window that does not grow bounds what gRPC reads of messages that no thread takes yet.
    little = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 64 << 10)]
    return [
        *(little if settings.models.low_memory else ()),
        # The workers of one server share its port; see ``reserve_port`` for other servers.
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", settings.limits.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Between the two, gRPC refuses by chance.
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
        # More than callers use, since a stream beyond the bound may be reset (UNAVAILABLE). Without
        # a bound, one connection of rapid resets keeps every other caller out.
        ("grpc.max_concurrent_streams", _MAX_STREAMS),
        # Calls that no thread has taken yet. Those that callers took back are among them until
        # their turn comes, and no stream counts them any more. Above the first number gRPC drops
        # some and says CANCELLED; calls beyond our own bounds are told so long before.
        ("grpc.server.max_pending_requests", _MOST_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _MOST_PENDING),
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ]

"""grpc.health.v1, such that no watcher can hold up the server or another caller.

The servicer of grpcio-health-checking sends to a watcher while it holds the lock that the end of a
call needs, so one watcher that reads nothing stops the whole server. It also keeps each name that
was ever asked for. Here nothing is sent under that lock, watchers are bounded, services are those
that were set, and a call that stalls gives way to others.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2

from mulde.errors import Overloaded
from serving.rpc.caller_waits import CallerWaits

MOST_WATCHERS = 1024
MOST_WAITS = 4
"""Threads of the server that wait for callers of this service."""
_STALLED_S = 0.02
_TELLING, _TELLING_STALLED_S = 16, 0.25
"""Threads that tell watchers of a change, and how long one may make a thread wait."""

Request: TypeAlias = health_pb2.HealthCheckRequest
Response: TypeAlias = health_pb2.HealthCheckResponse
Send = Callable[[Response], None]


class _Watcher:
    """Sends statuses of one service to one caller, the newest last."""

    def __init__(self, service: str, context: grpc.ServicerContext, send: Send) -> None:
        self.service, self.context, self._send = service, context, send
        self.peer = context.peer()
        self._lock = threading.Lock()
        self._version = -1

    def tell(self, status: int, version: int, waits: CallerWaits) -> None:
        """Send a status, unless a newer one was sent."""
        with self._lock:
            if version > self._version:
                self._version = version
                waits.run(partial(self._send, Response(status=status)), self.context)


class Health(grpc.GenericRpcHandler):
    """Says whether services can answer. Threads may share it."""

    def __init__(self) -> None:
        """Know of no service yet."""
        self._lock, self._telling = threading.Lock(), threading.Lock()
        self._statuses: dict[str, int] = {}
        self._version = 0
        self._watchers: dict[_Watcher, None] = {}
        self._watchers_of: Counter[str] = Counter()
        self._waits = CallerWaits(MOST_WAITS, _STALLED_S, "health calls that wait for their caller")
        self._changes = CallerWaits(_TELLING, _TELLING_STALLED_S, "watchers that are told")
        coding = Request.FromString, Response.SerializeToString
        watch = partial(self.watch)
        # gRPC looks for this: watching takes no thread once the first message is sent.
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        self._handlers = {
            f"/{health.SERVICE_NAME}/Check": grpc.stream_unary_rpc_method_handler(
                self.check, *coding
            ),
            f"/{health.SERVICE_NAME}/Watch": grpc.stream_stream_rpc_method_handler(watch, *coding),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call; None for a method that is not here."""
        return self._handlers.get(handler_call_details.method)

    def tell(self, serving: bool, *services: str) -> None:
        """Set the status of services ("" is the server as a whole), and tell the watchers.

        Returns at once: threads of their own tell the watchers, since one may not be reading.
        """
        status = Response.SERVING if serving else Response.NOT_SERVING
        with self._lock:
            self._statuses.update(dict.fromkeys(services, status))
            self._version += 1
            version = self._version
            watchers = [watcher for watcher in self._watchers if watcher.service in services]
        arguments = (watchers, status, version)
        threading.Thread(target=self._tell_all, args=arguments, name="health", daemon=True).start()

    def _tell_all(self, watchers: list[_Watcher], status: int, version: int) -> None:
        """Tell watchers of a change; those that do not take it in time are cancelled."""
        with self._telling, ThreadPoolExecutor(_TELLING, "watcher") as pool:
            told = [pool.submit(one.tell, status, version, self._changes) for one in watchers]
            while wait(told, _TELLING_STALLED_S).not_done:
                self._changes.cancel_stalled()

    def _status(self, service: str) -> tuple[int | None, int]:
        """The status of a service, and the version of all statuses."""
        with self._lock:
            return self._statuses.get(service), self._version

    def check(self, requests: Iterator[Request], context: grpc.ServicerContext) -> Response:
        """Tell now; NOT_FOUND for an unknown service."""
        status, _ = self._status(self._receive(requests, context).service)
        if status is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no service has this name")
        return Response(status=status)

    def watch(self, requests: Iterator[Request], context: grpc.ServicerContext, send: Send) -> None:
        """Tell now and whenever it changes.

        RESOURCE_EXHAUSTED beyond so many watchers, unless another connection has more of them: then
        one of that connection is cancelled.
        """
        watcher = _Watcher(self._receive(requests, context).service, context, send)
        if not context.add_callback(lambda: self._leave(watcher)):
            return
        try:
            self._join(watcher)
            status, version = self._status(watcher.service)
            told = Response.SERVICE_UNKNOWN if status is None else status
            watcher.tell(told, version, self._waits)
        except Overloaded as error:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        if not context.is_active():
            self._leave(watcher)

    def _receive(self, requests: Iterator[Request], context: grpc.ServicerContext) -> Request:
        """The one message of a call."""
        try:
            return self._waits.run(partial(next, requests), context)
        except StopIteration:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "expected one message, found none")
        except Overloaded as error:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        raise AssertionError("abort raises")

    def _join(self, watcher: _Watcher) -> None:
        """Count a watcher.

        Raises:
            Overloaded: if there are too many, and no connection has more than its own.
        """
        evicted = None
        with self._lock:
            if len(self._watchers) >= MOST_WATCHERS:
                most = max(self._watchers_of.values())
                if self._watchers_of[watcher.peer] + 1 >= most:
                    raise Overloaded(MOST_WATCHERS, "watchers of health")
                evicted = next(one for one in self._watchers if self._watchers_of[one.peer] == most)
                self._forget(evicted)
            self._watchers[watcher] = None
            self._watchers_of[watcher.peer] += 1
        if evicted is not None:
            evicted.context.cancel()

    def _leave(self, watcher: _Watcher) -> None:
        with self._lock:
            if watcher in self._watchers:
                self._forget(watcher)

    def _forget(self, watcher: _Watcher) -> None:
        del self._watchers[watcher]
        self._watchers_of[watcher.peer] -= 1
        if not self._watchers_of[watcher.peer]:
            del self._watchers_of[watcher.peer]

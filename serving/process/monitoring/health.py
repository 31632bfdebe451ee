"""grpc.health.v1, such that no watcher can hold up the server or another caller.

The servicer of grpcio-health-checking sends to a watcher while it holds the lock that the end of a
call needs, so one watcher that reads nothing stops the whole server. It also keeps each name that
was ever asked for. Here nothing is sent under that lock, watchers are bounded, and services are
those that were set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

MOST_WATCHERS = 1024

Response: TypeAlias = health_pb2.HealthCheckResponse
Send = Callable[[Response], None]


class _Watcher:
    """Sends statuses of one service to one caller, the newest last."""

    def __init__(self, service: str, send: Send) -> None:
        self.service, self._send = service, send
        self._lock = threading.Lock()
        self._version = -1

    def tell(self, status: int, version: int) -> None:
        """Send a status, unless a newer one was sent."""
        with self._lock:
            if version > self._version:
                self._version = version
                self._send(Response(status=status))


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Says whether services can answer. Threads may share it."""

    def __init__(self) -> None:
        """Know of no service yet."""
        self._lock = threading.Lock()
        self._statuses: dict[str, int] = {}
        self._version = 0
        self._watchers: set[_Watcher] = set()

    def tell(self, serving: bool, *services: str) -> None:
        """Set the status of services ("" is the server as a whole), and tell the watchers.

        Returns at once: a thread of its own tells the watchers, since one may not be reading.
        """
        status = Response.SERVING if serving else Response.NOT_SERVING
        with self._lock:
            self._statuses.update(dict.fromkeys(services, status))
            self._version += 1
            version = self._version
            watchers = [watcher for watcher in self._watchers if watcher.service in services]
        arguments = (watchers, status, version)
        threading.Thread(target=_tell_all, args=arguments, name="health", daemon=True).start()

    def _status(self, service: str) -> tuple[int | None, int]:
        """The status of a service, and the version of all statuses."""
        with self._lock:
            return self._statuses.get(service), self._version

    def Check(  # noqa: N802 - the contract's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Response:
        """Tell now; NOT_FOUND for an unknown service."""
        status, _ = self._status(request.service)
        if status is None:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            return Response()
        return Response(status=status)

    def Watch(  # noqa: N802 - the contract's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send_response_callback: Send,
    ) -> None:
        """Tell now and whenever it changes; RESOURCE_EXHAUSTED beyond so many watchers."""
        watcher = _Watcher(request.service, send_response_callback)
        if not context.add_callback(lambda: self._leave(watcher)):
            return
        with self._lock:
            full = len(self._watchers) >= MOST_WATCHERS
            if not full:
                self._watchers.add(watcher)
        if full:
            said = f"{MOST_WATCHERS} callers watch already"
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, said)
        status, version = self._status(request.service)
        watcher.tell(Response.SERVICE_UNKNOWN if status is None else status, version)
        if not context.is_active():
            self._leave(watcher)

    # gRPC looks for this: watching takes no thread once the first message is sent.
    Watch.experimental_non_blocking = True  # type: ignore[attr-defined]

    def _leave(self, watcher: _Watcher) -> None:
        with self._lock:
            self._watchers.discard(watcher)


def _tell_all(watchers: list[_Watcher], status: int, version: int) -> None:
    for watcher in watchers:
        watcher.tell(status, version)

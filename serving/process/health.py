"""grpc.health.v1, such that no watcher can hold up the server or another caller.

The servicer of grpcio-health-checking sends to a watcher while it holds the lock that the end of a
call needs; one watcher that reads nothing stops the whole server so. It also keeps each name that
was ever asked for. Here nothing is sent under a lock, watchers are bounded, and services are those
that were told of.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

MOST_WATCHERS = 1024

Response: TypeAlias = health_pb2.HealthCheckResponse
Send = Callable[[Response], None]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Says whether services can answer. Threads may share it."""

    def __init__(self) -> None:
        """Know of no service yet."""
        self._lock = threading.Lock()
        self._statuses: dict[str, int] = {}
        self._watchers: dict[object, tuple[str, Send]] = {}

    def tell(self, serving: bool, *services: str) -> None:
        """Set what is said of services ("" is the server as a whole), and tell the watchers.

        Returns at once: watchers are told by a thread of its own, since one may not be reading.
        """
        status = Response.SERVING if serving else Response.NOT_SERVING
        with self._lock:
            self._statuses.update(dict.fromkeys(services, status))
            told = [send for service, send in self._watchers.values() if service in services]
        threading.Thread(target=_send_all, args=(told, status), name="health", daemon=True).start()

    def _status(self, service: str) -> int | None:
        with self._lock:
            return self._statuses.get(service)

    def Check(  # noqa: N802 - the contract's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Response:
        """Tell now; NOT_FOUND for a service that is none."""
        status = self._status(request.service)
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
        watcher = object()
        if not context.add_callback(lambda: self._leave(watcher)):
            return
        with self._lock:
            full = len(self._watchers) >= MOST_WATCHERS
            if not full:
                self._watchers[watcher] = request.service, send_response_callback
        if full:
            said = f"{MOST_WATCHERS} callers watch already"
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, said)
        status = self._status(request.service)
        unknown = Response.SERVICE_UNKNOWN
        send_response_callback(Response(status=unknown if status is None else status))
        if not context.is_active():
            self._leave(watcher)

    # gRPC looks for this: watching takes no thread once the first message is sent.
    Watch.experimental_non_blocking = True  # type: ignore[attr-defined]

    def _leave(self, watcher: object) -> None:
        with self._lock:
            self._watchers.pop(watcher, None)


def _send_all(sends: list[Send], status: int) -> None:
    for send in sends:
        send(Response(status=status))

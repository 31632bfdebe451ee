"""grpc.health.v1 with bounds: whoever watches, and whatever names he makes up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2  # type: ignore[import-untyped]

MOST_WATCHERS = 1024
_NONE_SUCH = "\0"

Send = Callable[[Any], None]


class Health(health.HealthServicer):  # type: ignore[misc]
    """Says whether services can answer.

    The library's own keeps each name that was ever watched, for ever, and any number of watchers.
    Services do not come and go here, so all names that are none can share one entry.
    """

    def __init__(self) -> None:
        """Nothing serves yet."""
        super().__init__(experimental_non_blocking=True)
        self._watchers = 0

    def tell(self, service: str, *, serving: bool) -> None:
        """Set what is said of a service; "" is the server as a whole."""
        status = health_pb2.HealthCheckResponse
        self.set(service, status.SERVING if serving else status.NOT_SERVING)

    def Watch(  # noqa: N802 - the contract's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send_response_callback: Send | None = None,
    ) -> Any:
        """Tell now, and whenever it changes; RESOURCE_EXHAUSTED beyond so many watchers."""
        with self._lock:
            known = request.service in self._server_status
            full = self._watchers >= MOST_WATCHERS
            self._watchers += not full
        if full:
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_WATCHERS} callers watch already"
            )
        context.add_callback(self._left)
        shared = health_pb2.HealthCheckRequest(service=request.service if known else _NONE_SUCH)
        return super().Watch(shared, context, send_response_callback)

    def _left(self) -> None:
        with self._lock:
            self._watchers -= 1

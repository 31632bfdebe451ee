"""grpc.reflection.v1alpha, such that a stream that stalls gives way to other callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from mulde.errors import Overloaded
from serving.rpc.caller_waits import CallerWaits
from serving.rpc.methods import SERVICES

MOST_WAITS = 4
"""Threads of the server that wait for callers of this service."""
_STALLED_S = 0.02
"""A tool sends its next request, or the end of its stream, at once or after its user has read."""


class Reflection(grpc.GenericRpcHandler):
    """Describes the services to tools such as grpcurl."""

    def __init__(self) -> None:
        """Know the services of this server."""
        ours = [service.full_name for service in SERVICES]
        names = [*ours, health.SERVICE_NAME, reflection.SERVICE_NAME]
        self._servicer = reflection.ReflectionServicer(names)
        self._waits = CallerWaits(MOST_WAITS, _STALLED_S, "reflection streams")
        describe = partial(self._describe)
        # gRPC looks for this: without it, its own thread would wait until a response is taken.
        describe.experimental_non_blocking = True  # type: ignore[attr-defined]
        self._method = f"/{reflection.SERVICE_NAME}/ServerReflectionInfo"
        self._handler = grpc.stream_stream_rpc_method_handler(
            describe,
            ServerReflectionRequest.FromString,
            ServerReflectionResponse.SerializeToString,
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call; None for a method that is not here."""
        return self._handler if handler_call_details.method == self._method else None

    def _describe(
        self,
        requests: Iterator[ServerReflectionRequest],
        context: grpc.ServicerContext,
        send: Callable[[ServerReflectionResponse | None], None],
    ) -> None:
        """Answer each request of a stream, then end it."""
        try:
            received = self._received(requests, context)
            for response in self._servicer.ServerReflectionInfo(received, context):
                self._waits.run(partial(send, response), context)
        except Overloaded as error:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        send(None)

    def _received(
        self, requests: Iterator[ServerReflectionRequest], context: grpc.ServicerContext
    ) -> Iterator[ServerReflectionRequest]:
        while True:
            try:
                yield self._waits.run(partial(next, requests), context)
            except StopIteration:
                return

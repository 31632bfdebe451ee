"""Admit requests within three limits: requests in flight, bulk requests, and response bytes.

    max_concurrent_requests  requests from arrival to response, of any size; more are refused too
                             while one that is not bulk has waited longer than max_wait_ms
    max_bulk_requests        requests in flight that take more than one chunk (``batcher.py``), or
                             whose message is large; one of more than its share, max_message_bytes /
                             max_bulk_requests, counts as several
    max_unsent_bytes         bytes of responses being built, or not yet taken by their callers

The error says which limit refused a request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import grpc

from mulde.errors import Draining, Overloaded
from serving.rpc.caller_waits import CallerWaits

_LEAST_RECEIVING = 2
_STALLED_S = 0.25
"""A message that takes longer gives way to those of other requests."""


class AdmissionController:
    """Counts what is in flight. Threads may share it."""

    def __init__(
        self,
        max_requests: int,
        max_bulk: int,
        max_bytes: int,
        max_wait_s: float = 0.05,
        waited_s: Callable[[], float] = lambda: 0.0,
        max_message_bytes: int = 16 << 20,
    ) -> None:
        """Begin empty.

        Args:
            max_requests: requests in flight.
            max_bulk: bulk requests in flight.
            max_bytes: bytes of responses under way.
            max_wait_s: longest wait of a request, beyond which others are refused.
            waited_s: tells how long the first of the queue has waited.
            max_message_bytes: of one request.
        """
        self._bulk_bytes = max(1, max_message_bytes // max_bulk)
        self._max_wait_s, self._waited_s = max_wait_s, waited_s
        self._max_requests, self._max_bulk, self._max_bytes = max_requests, max_bulk, max_bytes
        receiving = max(_LEAST_RECEIVING, max_requests // 2)
        self._receiving = CallerWaits(receiving, _STALLED_S, "requests that are being received")
        self._lock = threading.Lock()
        self._drains = False
        self._bytes = 0
        self._in_flight: set[grpc.ServicerContext] = set()
        self._callers: set[str] = set()
        self._bulk: dict[grpc.ServicerContext, int] = {}
        self._unsent: dict[object, tuple[int, grpc.ServicerContext]] = {}

    @property
    def requests(self) -> int:
        """Requests in flight."""
        return len(self._in_flight)

    @property
    def receiving(self) -> int:
        """Calls whose message is not there yet."""
        return len(self._receiving)

    @property
    def unsent_bytes(self) -> int:
        """Bytes of responses being built, or not yet taken."""
        return self._bytes

    def drain(self) -> None:
        """Refuse new requests; those in flight end."""
        self._drains = True

    def check(self) -> None:
        """Refuse early, before the message is read.

        Raises:
            Draining: after ``drain``.
            Overloaded: if the next request would be refused.
        """
        if self._drains:
            raise Draining
        if len(self._in_flight) >= self._max_requests:
            raise Overloaded(self._max_requests, "requests in flight")
        if self._waited_s() > self._max_wait_s:
            raise Overloaded(round(1e3 * self._max_wait_s), "ms that a request may wait")

    def enter(self, context: grpc.ServicerContext) -> None:
        """Count a request whose message is there.

        Raises:
            Draining, Overloaded: as ``check``.
        """
        with self._lock:
            if self._drains:
                raise Draining
            if len(self._in_flight) >= self._max_requests:
                raise Overloaded(self._max_requests, "requests in flight")
            self._in_flight.add(context)
        self._callers.add(context.peer())

    def leave(self, context: grpc.ServicerContext) -> None:
        """Count a request as ended."""
        with self._lock:
            self._in_flight.discard(context)
            self._bulk.pop(context, None)

    def peers(self) -> set[str]:
        """Callers with a request in flight or a response under way, as gRPC writes them."""
        with self._lock:
            contexts = [*self._in_flight, *(context for _, context in self._unsent.values())]
        return {context.peer() for context in contexts}

    def callers(self) -> set[str]:
        """Callers that were admitted at least once, as gRPC writes them."""
        return self._callers.copy()

    def forget_callers(self, gone: set[str]) -> None:
        """Drop callers that have no connection any more."""
        self._callers -= gone

    def receive(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The one message of a call; the call is cancelled if it stalls while others wait.

        Half as many calls as may be in flight, at least 2, may be sending their message. One more
        cancels the oldest if that has stalled, and is refused otherwise. A message that arrives at
        the moment of cancelling is not worked on: its caller hears of the cancelling alone.

        Raises:
            Overloaded: if too many calls are sending their message, or this one had to give way.
            StopIteration: if there is no message, or the call was cancelled.
        """
        return self._receiving.run(messages.__next__, context)

    def enter_bulk(self, context: grpc.ServicerContext, message_bytes: int = 0) -> None:
        """Count a request in flight as a bulk request too, or as several by its message's size.

        Raises:
            Overloaded: if too many are in flight.
        """
        with self._lock:
            own = self._bulk.get(context, 0)
            count = min(self._max_bulk, max(1, own, -(-message_bytes // self._bulk_bytes)))
            if sum(self._bulk.values()) - own + count > self._max_bulk:
                raise Overloaded(self._max_bulk, "bulk requests in flight")
            self._bulk[context] = count

    def reserve(self, size: int) -> None:
        """Count bytes of a response that is being built, until ``send`` or ``release``.

        The oldest responses that their callers have not taken are cancelled to make room.

        Raises:
            Overloaded: if there is no room then either.
        """
        late = []
        with self._lock:
            while self._bytes + size > self._max_bytes and self._unsent:
                late.append(self._forget(next(iter(self._unsent))))
            full = self._bytes + size > self._max_bytes
            self._bytes += 0 if full else size
        for caller in late:
            caller.cancel()
        if full:
            raise Overloaded(self._max_bytes, "bytes of responses under way")

    def release(self, size: int) -> None:
        """Bytes that were reserved will not be sent."""
        with self._lock:
            self._bytes -= size

    def send(self, size: int, context: grpc.ServicerContext) -> None:
        """Reserved bytes are a finished response now; they count until its caller took them."""
        ticket = object()
        with self._lock:
            self._unsent[ticket] = size, context
        if not context.add_callback(lambda: self._sent(ticket)):
            self._sent(ticket)

    def _sent(self, ticket: object) -> None:
        with self._lock:
            if ticket in self._unsent:
                self._forget(ticket)

    def _forget(self, ticket: object) -> grpc.ServicerContext:
        size, context = self._unsent.pop(ticket)
        self._bytes -= size
        return context

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Whether every request ended in time."""
        return _wait(lambda: not self._in_flight, timeout_s)

    def wait_until_sent(self, timeout_s: float) -> bool:
        """Whether every response was taken in time."""
        return _wait(lambda: not self._unsent, timeout_s)


def _wait(done: Callable[[], bool], timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    return done()

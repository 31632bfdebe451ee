"""Threads for calls, and none for callers who open calls and send nothing.

gRPC gives a call its thread as soon as the headers are there, and the thread waits for the message,
for ever. Whoever opens many calls and keeps their messages to himself would so have all threads.
Here only so many calls may be arriving: one more, and the one that has taken longest is cut off. A
message mostly comes with its headers, so an honest call is never the oldest for long. A stream that
waits for its next message, as reflection's do, counts as arriving too. Who is cut off is told that
there is no room, and not that he cancelled: honest callers who come all at once can try again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

import grpc

_NO_ROOM = int(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])

T = TypeVar("T")


class CallThreads(futures.ThreadPoolExecutor):
    """What ``grpc.server`` runs calls in."""

    def __init__(self, running: int, arriving: int, initializer: Callable[[], None]) -> None:
        """Start no thread yet.

        Args:
            running: threads for calls whose messages are there.
            arriving: calls at once whose messages are not.
            initializer: run first in each thread.
        """
        super().__init__(running + arriving, "call", initializer)
        self._most = arriving
        self._arriving: dict[object, Any] = {}
        self._lock = threading.Lock()
        self._own = threading.local()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        """Run a call's work; cut off the longest in arriving if they are too many."""
        ticket, late = object(), None
        with self._lock:
            self._arriving[ticket] = _call_of(args)
            if len(self._arriving) > self._most:
                late = self._arriving.pop(next(iter(self._arriving)))
        if late is not None:
            late.cancel(_NO_ROOM, f"{self._most} calls are arriving already; try again later")
        return super().submit(self._run, ticket, fn, *args, **kwargs)

    def _run(self, ticket: object, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        self._own.ticket = ticket
        try:
            return fn(*args, **kwargs)
        finally:
            self.arrived()

    def arrived(self) -> None:
        """The message of this thread's call is there; it will not be cut off."""
        with self._lock:
            self._arriving.pop(self._own.ticket, None)


def _call_of(args: tuple[Any, ...]) -> Any:
    """What can be cancelled, out of what gRPC submits; None if it submits something else.

    The event that announced the call holds it; ``ServicerContext.cancel`` does the same, and says
    CANCELLED.
    """
    for arg in args:
        call = getattr(arg, "call", None)
        if call is not None:
            return call
    return None

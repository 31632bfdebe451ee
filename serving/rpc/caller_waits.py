"""Bound the threads that wait for callers: for a message to come, or for one to be taken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import grpc

from mulde.errors import Overloaded

T = TypeVar("T")


class CallerWaits:
    """At most so many threads wait; one more cancels the call that has stalled longest.

    Without it, as many streams as there are threads stop a server: gRPC waits for a message, and
    for room in a caller's window, without end.
    """

    def __init__(self, most: int, stalled_s: float, what: str) -> None:
        """Begin without a wait.

        Args:
            most: waits at once.
            stalled_s: a call that makes a thread wait longer gives way to others.
            what: what is waited for, as the error says it.
        """
        self._most, self._stalled_s, self._what = most, stalled_s, what
        self._lock = threading.Lock()
        self._waits: dict[object, tuple[float, grpc.ServicerContext]] = {}

    def __len__(self) -> int:
        """Threads that wait now."""
        return len(self._waits)

    def run(self, wait: Callable[[], T], context: grpc.ServicerContext) -> T:
        """Return what ``wait`` returns, which waits for the caller of ``context``.

        A call that gave way hears of the cancelling alone, even if its wait ended meanwhile.

        Raises:
            Overloaded: if all others wait for too short a time, or this call had to give way.
        """
        ticket, stalled = object(), None
        with self._lock:
            if len(self._waits) >= self._most:
                stalled = self._give_way(next(iter(self._waits)))
                if stalled is None:
                    raise self._overloaded()
            self._waits[ticket] = monotonic(), context
        if stalled is not None:
            stalled.cancel()
        try:
            result = wait()
        finally:
            with self._lock:
                gave_way = self._waits.pop(ticket, None) is None
        if gave_way:
            raise self._overloaded()
        return result

    def cancel_stalled(self) -> None:
        """Cancel all calls that have stalled."""
        with self._lock:
            stalled = [self._give_way(ticket) for ticket in list(self._waits)]
        for context in stalled:
            if context is not None:
                context.cancel()

    def _give_way(self, ticket: object) -> grpc.ServicerContext | None:
        """Forget a wait; its call if that has stalled, else None."""
        since, context = self._waits[ticket]
        if monotonic() - since < self._stalled_s:
            return None
        del self._waits[ticket]
        return context

    def _overloaded(self) -> Overloaded:
        return Overloaded(self._most, self._what)

"""Answers that are on their way, bounded in bytes: who asks for much and reads nothing is cut off.

gRPC keeps an answer until its caller takes it. Answers are up to tens of megabytes, so callers who
never read would fill the memory. Where more than so many bytes are on their way, the oldest answers
are given up; a caller that reads has his long before.
"""

from __future__ import annotations

import threading
import time

import grpc


class Outbox:
    """What was answered and not yet taken. Threads may share it."""

    def __init__(self, max_bytes: int) -> None:
        """Begin empty.

        Args:
            max_bytes: on their way at once; a larger answer goes alone.
        """
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._waiting: dict[object, tuple[int, grpc.ServicerContext]] = {}
        self._bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes on their way."""
        return self._bytes

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Whether every answer was taken in time."""
        end = time.monotonic() + timeout_s
        while self._waiting and time.monotonic() < end:
            time.sleep(0.01)
        return not self._waiting

    def put(self, size: int, context: grpc.ServicerContext) -> None:
        """Count an answer until its call ends; cut off the oldest if it is too much together."""
        ticket = object()
        with self._lock:
            self._waiting[ticket] = size, context
            self._bytes += size
            late = []
            while self._bytes > self._max_bytes and len(self._waiting) > 1:
                late.append(self._take(next(iter(self._waiting))))
        for caller in late:
            caller.cancel()
        if not context.add_callback(lambda: self._sent(ticket)):
            self._sent(ticket)

    def _sent(self, ticket: object) -> None:
        with self._lock:
            if ticket in self._waiting:
                self._take(ticket)

    def _take(self, ticket: object) -> grpc.ServicerContext:
        size, context = self._waiting.pop(ticket)
        self._bytes -= size
        return context

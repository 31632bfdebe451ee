"""How many calls are let in at once, so that those inside are answered soon and the rest at once.

A queue makes no server faster, only its answers later. Two bounds hold: a number of calls, and for
each method the time that its calls inside will take, which is their number times its **pace**: the
mean time from one answer to the next while any is inside. So many small calls may be inside or few
large ones, on a fast machine more than on a slow one; but always some, for company makes batches.
Each method has its own pace, so that slow calls of one do not close the door to quick ones of
another.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from mulde.errors import Overloaded

ALWAYS = 8
"""Calls of a method that are let in however long each takes, within the number of calls."""

_NEWEST = 1 / 64
"""Weight of the newest interval in a pace: it follows a change within some 100 calls."""


@dataclass
class _Queue:
    """The calls of one method: how many are inside, how fast they end, when the last one did."""

    inside: int = 0
    pace_s: float = 0.0
    last: float = 0.0


class Room:
    """Counts who is inside. Threads may share it."""

    def __init__(
        self, max_calls: int, max_wait_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        """Begin empty.

        Args:
            max_calls: inside at once.
            max_wait_s: how long the calls of one method may take together, as far as can be told.
            clock: gives seconds.
        """
        self._max_calls, self._max_wait_s, self._clock = max_calls, max_wait_s, clock
        self._lock = threading.Lock()
        self._inside = 0
        self._queues: defaultdict[str, _Queue] = defaultdict(_Queue)

    @property
    def inside(self) -> int:
        """Calls that are inside."""
        return self._inside

    def is_full(self, method: str) -> bool:
        """Whether the next call of a method would be refused."""
        queue = self._queues[method]
        late = queue.inside >= ALWAYS and queue.inside * queue.pace_s >= self._max_wait_s
        return late or self._inside >= self._max_calls

    def enter(self, method: str) -> None:
        """Let a call in.

        Args:
            method: one of few, for each is remembered.

        Raises:
            Overloaded: if there is no room.
        """
        with self._lock:
            if self.is_full(method):
                raise Overloaded(self._inside)
            queue = self._queues[method]
            if not queue.inside:
                queue.last = self._clock()
            queue.inside += 1
            self._inside += 1

    def leave(self, method: str) -> None:
        """A call ended."""
        with self._lock:
            queue = self._queues[method]
            self._inside -= 1
            queue.inside -= 1
            now = self._clock()
            queue.pace_s += _NEWEST * (now - queue.last - queue.pace_s)
            queue.last = now

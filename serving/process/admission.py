"""How many calls are let in at once, so that those inside are answered soon and the rest at once.

A queue makes no server faster, only its answers later. Two bounds hold: a number of calls, and the
time that those inside will take, which is their number times the **pace**: the mean time from one
answer to the next while anybody is inside. So many small calls may be inside or few large ones, and
on a fast machine more than on a slow one; but always some, for company makes batches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from mulde.errors import Overloaded

ALWAYS = 8
"""Calls that are let in however long each takes, unless the number of calls is bounded lower."""

_NEWEST = 1 / 64
"""Weight of the newest interval in the pace: it follows a change within some 100 calls."""


class Room:
    """Counts who is inside. Threads may share it."""

    def __init__(
        self, max_calls: int, max_wait_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        """Begin empty.

        Args:
            max_calls: inside at once.
            max_wait_s: how long those inside may take together, as far as can be told.
            clock: gives seconds.
        """
        self._max_calls, self._max_wait_s, self._clock = max_calls, max_wait_s, clock
        self._always = min(ALWAYS, max_calls)
        self._lock = threading.Lock()
        self._inside = 0
        self._pace_s, self._last = 0.0, 0.0

    @property
    def inside(self) -> int:
        """Calls that are inside."""
        return self._inside

    @property
    def is_full(self) -> bool:
        """Whether the next call would be refused."""
        if self._inside < self._always:
            return False
        return self._inside >= self._max_calls or self._inside * self._pace_s >= self._max_wait_s

    def enter(self) -> None:
        """Let a call in.

        Raises:
            Overloaded: if there is no room.
        """
        with self._lock:
            if self.is_full:
                raise Overloaded(self._inside)
            if not self._inside:
                self._last = self._clock()
            self._inside += 1

    def leave(self) -> None:
        """A call ended."""
        with self._lock:
            self._inside -= 1
            now = self._clock()
            self._pace_s += _NEWEST * (now - self._last - self._pace_s)
            self._last = now

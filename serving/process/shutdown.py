"""Wait for signals without missing one: a self-pipe.

A Python handler runs when the main thread comes to its next instruction, so a signal that arrives
just before that thread waits would be noticed when the wait is over. The interpreter therefore
writes the number of each signal into a pipe, within the signal itself, and waiting reads the pipe.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

_END = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_IGNORED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)


class ShutdownEvent:
    """Set by SIGTERM, SIGINT, SIGQUIT or ``set``; threads may set it.

    Attributes:
        reload: called by ``wait`` after a SIGHUP.
    """

    def __init__(self) -> None:
        """Not set, and no signal handled yet."""
        self.reload: Callable[[], None] = lambda: None
        self._is_set = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def handle_signals(self) -> None:
        """From now on react to signals; call it in the main thread.

        Signals that would end a process by default and that mean nothing here are ignored.
        """
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (*_END, signal.SIGHUP, *_IGNORED):
            signal.signal(number, _ignore)

    def set(self) -> None:
        """End every wait."""
        with suppress(BlockingIOError):
            os.write(self._write, b"\0")

    def is_set(self) -> bool:
        """Whether it was set."""
        return self.wait(0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set, or so many seconds; whether it is set."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._is_set:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._read], [], [], left)[0]:
                break
            self._take(os.read(self._read, 512))
        return self._is_set

    def _take(self, numbers: bytes) -> None:
        if any(number == 0 or number in _END for number in numbers):
            self._is_set = True
        elif signal.SIGHUP in numbers:
            self.reload()


def _ignore(*_: object) -> None:
    """Do nothing: with SIG_IGN the number would not reach the pipe."""


def leave(status: int) -> NoReturn:
    """End the process now, without waiting for its threads and connections."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

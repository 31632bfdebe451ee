"""The wish to stop, told by a signal or by another thread, that is never missed.

A handler of Python's runs when the main thread comes to its next instruction. A signal that comes
while that thread is about to wait for a lock, and on a busy machine it is about to for
milliseconds, is heard when the wait is over: at the next signal. And a handler that sets an event
while the main thread holds the event's own lock waits for itself. So a signal's number goes into a
pipe, which the interpreter does within the signal itself, and whoever waits looks at the pipe.
"""

from __future__ import annotations

import os
import select
import signal


class ShutdownEvent:
    """Set once and for ever; threads may share it."""

    def __init__(self) -> None:
        """Not set yet, and not heard of any signal."""
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def on(self, *signals: signal.Signals) -> None:
        """Be set by these signals, and by all others that have handlers; in the main thread."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, _ignore)

    def set(self) -> None:
        """Tell whoever waits."""
        os.write(self._write, b"\0")

    def is_set(self) -> bool:
        """Whether it was told."""
        return self.wait(0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is told, for ever or so many seconds; whether it was."""
        return bool(select.select([self._read], [], [], timeout_s)[0])


def _ignore(*_: object) -> None:
    """What a signal does besides: SIG_IGN would keep its number out of the pipe."""

"""Files that may change while the server runs: certificates and tokens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from mulde.errors import ConfigError

T = TypeVar("T")


class FileWatcher(Generic[T]):
    """What was read from some files, read again when they change.

    While new content cannot be read, for instance because only one of two files was replaced so
    far, the old value stays, and the next look tries again.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[], T],
        failed: Callable[[ConfigError], None] = lambda error: None,
        *,
        interval_s: float = 1.0,
    ) -> None:
        """Read once.

        Args:
            paths: what to watch.
            read: gives the value, or raises ConfigError.
            failed: hears of a later failure, once for each change.
            interval_s: how often to look, at most.

        Raises:
            ConfigError: from ``read``.
        """
        self._paths, self._read, self._failed = paths, read, failed
        self._lock = threading.Lock()
        self._stamp = self._refused = self._look()
        self._value = read()
        self._interval_s = interval_s
        self._next = time.monotonic() + interval_s

    def get(self) -> T:
        """The newest value that could be read; looks at the files now and then."""
        now = time.monotonic()
        if now >= self._next and self._lock.acquire(blocking=False):
            try:
                self._next = now + self._interval_s
                self._refresh()
            finally:
                self._lock.release()
        return self._value

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            self._value = self._read()
            self._stamp = stamp
        except ConfigError as error:
            if stamp != self._refused:
                self._refused = stamp
                self._failed(error)

    def _look(self) -> list[tuple[int, int, int] | None]:
        """Inode, size and time of each file; None for one that is not there."""
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns

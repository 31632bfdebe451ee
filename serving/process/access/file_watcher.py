"""Files that change while the server runs: certificates and tokens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from mulde.errors import ConfigError

T = TypeVar("T")


class FileWatcher(Generic[T]):
    """The value of some files, read again when they change.

    While new content cannot be read, for instance because only one of two files was replaced so
    far, the old value stays, and the next look tries again. Threads may share a watcher.
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
            paths: the files.
            read: gives the value, or raises ConfigError.
            failed: told of a later failure, once for each change.
            interval_s: how often to look, at most.

        Raises:
            ConfigError: from ``read``.
        """
        self._paths, self._read, self._failed = paths, read, failed
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._stamp = self._refused = self._look()
        self._value = read()
        self._interval_s = interval_s
        self._next = time.monotonic() + interval_s

    def get(self) -> T:
        """Return the newest value that could be read; looks at the files once in a while."""
        now = time.monotonic()
        if now >= self._next and self._lock.acquire(blocking=False):
            try:
                self._next = now + self._interval_s
                self._refresh()
            finally:
                self._lock.release()
        return self._value

    @property
    def failing_s(self) -> float:
        """Seconds for which the files cannot be used; 0 while they can."""
        since = self._failing_since
        return 0.0 if since is None else time.monotonic() - since

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            self._failing_since = None
            return
        try:
            self._value = self._read()
            self._stamp, self._failing_since = stamp, None
        except ConfigError as error:
            if self._failing_since is None:
                self._failing_since = time.monotonic()
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

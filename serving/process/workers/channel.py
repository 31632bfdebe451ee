"""Messages between the supervisor and a worker: calls with one answer each, in both directions.

Each message is ``(kind, number, content)``. A call gets the answer of the same number, which is a
result or an error; several calls may be under way.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

Handler = Callable[[str, Any], Any]


class Gone(Exception):  # noqa: N818 - what happened, not what is wrong
    """The process at the other end is no longer there."""


class Channel:
    """One end of a connection."""

    def __init__(self, connection: Connection, handle: Handler, gone: Callable[[], None]) -> None:
        """Take over a connection; ``start`` begins to read.

        Args:
            connection: to the other process.
            handle: answers a call, (kind, content) -> result; may raise.
            gone: called once, when the other process is no longer there.
        """
        self._connection, self._handle, self._gone = connection, handle, gone
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._open = True

    @property
    def is_open(self) -> bool:
        """Whether the other process is there."""
        return self._open

    def start(self) -> None:
        """Read in a thread of its own."""
        threading.Thread(target=self._read, name="channel", daemon=True).start()

    def call(self, kind: str, content: Any = None) -> Future[Any]:
        """Ask the other process; the future holds its result, its error, or ``Gone``."""
        future: Future[Any] = Future()
        number = next(self._numbers)
        with self._lock:
            if not self._open:
                future.set_exception(Gone())
                return future
            self._waiting[number] = future
        self._send(("call", number, (kind, content)))
        return future

    def _send(self, message: tuple[str, int, Any]) -> None:
        try:
            with self._lock:
                self._connection.send(message)
        except OSError:
            self._close()

    def _read(self) -> None:
        try:
            while True:
                kind, number, content = self._connection.recv()
                if kind == "call":
                    # In a thread of its own, since a handler may itself wait for an answer.
                    answer = threading.Thread(
                        target=self._answer, args=(number, *content), daemon=True
                    )
                    answer.start()
                else:
                    self._settle(number, content, failed=kind == "error")
        except (EOFError, OSError):
            self._close()
            # Here and nowhere else, for nobody reads any more; else the descriptor stays until
            # garbage is collected, one for each worker that was replaced.
            with self._lock:
                self._connection.close()

    def _answer(self, number: int, kind: str, content: Any) -> None:
        try:
            reply = ("result", number, self._handle(kind, content))
        except Exception as error:  # whatever it is, the other process waits for it
            reply = ("error", number, error)
        self._send(reply)

    def _settle(self, number: int, content: Any, *, failed: bool) -> None:
        with self._lock:
            future = self._waiting.pop(number)
        if failed:
            future.set_exception(content)
        else:
            future.set_result(content)

    def _close(self) -> None:
        with self._lock:
            was_open, self._open = self._open, False
            waiting, self._waiting = list(self._waiting.values()), {}
        for future in waiting:
            future.set_exception(Gone())
        if was_open:
            self._gone()

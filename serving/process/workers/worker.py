"""One of several processes on one port: ``python -m serving.process.workers.worker FD``.

The supervisor starts it.

It serves like a process alone, but asks the supervisor to change models, and does what the
supervisor tells all workers: prepare a lineup, switch to it, drain.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from mulde.errors import MuldeError
from mulde.storage.printable import printable
from serving.process.logs import open_log
from serving.process.server import Server
from serving.process.settings import Settings
from serving.process.shutdown import ShutdownEvent
from serving.process.workers.channel import Channel


class RemoteChanges:
    """Changes in all workers, by way of the supervisor; see ``administration.Changes``."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def load(self, name: str, version: str, pin: bool) -> tuple[str, str]:
        """See ``Director.load``."""
        changed: tuple[str, str] = self._channel.call("load", (name, version, pin)).result()
        return changed

    def reload(self, name: str) -> tuple[str, str, bool]:
        """See ``Director.reload``."""
        changed: tuple[str, str, bool] = self._channel.call("reload", (name,)).result()
        return changed

    def unload(self, name: str, version: str) -> list[tuple[str, str]]:
        """See ``Director.unload``."""
        gone: list[tuple[str, str]] = self._channel.call("unload", (name, version)).result()
        return gone


class Worker:
    """The process: a server, and the supervisor's wishes."""

    def __init__(self, connection: Connection) -> None:
        """Take settings and number from the supervisor, and bind the port."""
        settings, number = connection.recv()
        self._stop = ShutdownEvent()
        self._log = open_log(settings.log, worker=number)
        channel = Channel(connection, self._handle, self._stop.set)
        self._server = _server(settings, self._log, channel)
        self._stop.on(signal.SIGTERM)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        channel.start()

    def _handle(self, kind: str, content: Any) -> None:
        registry = self._server.registry
        if kind == "prepare":
            registry.prepare(content)
        elif kind == "commit":
            registry.commit(content)
            self._server.open()
        elif kind == "abort":
            registry.abort()
        elif kind == "settle":
            self._server.metrics.settle()
        elif kind == "drain":
            self._stop.set()
        else:
            raise ValueError(f"no such call: {kind}")

    def run(self) -> bool:
        """Serve until told to drain, or until the supervisor is gone; whether all was answered."""
        self._stop.wait()
        return self._server.drain()


def _server(settings: Settings, log: Any, channel: Channel) -> Server:
    return Server(settings, log, lambda registry: RemoteChanges(channel), shared_port=True)


def main() -> None:
    """Serve on behalf of the supervisor at the other end of the file descriptor given."""
    try:
        done = Worker(Connection(int(sys.argv[1]))).run()
    except MuldeError as error:
        sys.stderr.write(printable(f"worker: {error}") + "\n")
        sys.exit(1)
    sys.stderr.flush()
    # Threads of calls that did not end in time would keep the interpreter from leaving.
    os._exit(0 if done else 1)


if __name__ == "__main__":
    main()

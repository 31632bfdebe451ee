"""Several worker processes on one port: started, replaced when they die, changed together.

The port belongs to the supervisor, which binds it and never listens; the kernel spreads
connections over the workers. A change of models has two steps: all workers prepare, and if all can,
all switch. So either all have the new lineup or none.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mulde.errors import BundleError, ConfigError, MuldeError
from serving.process.logs import Log
from serving.process.metrics import exposition, forget_process, shared_registry
from serving.process.settings import Settings
from serving.process.shutdown import ShutdownEvent
from serving.process.workers.channel import Channel, Gone
from serving.registry.manager import Director
from serving.registry.repository import Repository
from serving.registry.served_models import Lineup

_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CHANGES = ("load", "reload", "unload")
_LONG_LIFE_S = 10.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_GRACE_MARGIN_S = 5.0
_PATIENCE_S = 1.0


class WorkerProcess:
    """A worker as the supervisor sees it.

    Attributes:
        is_useless: whether it cannot load what the others have; that was said already.
    """

    def __init__(
        self,
        number: int,
        settings: Settings,
        environment: Mapping[str, str],
        director: Director,
        died: threading.Event,
    ) -> None:
        """Start the process.

        Args:
            number: for the log.
            settings: with the port that all share.
            environment: of the process.
            director: does what the worker's administrators ask for.
            died: set when the process is gone.
        """
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "serving.process.workers.worker", str(theirs.fileno())]
        self.number, self.born, self.is_useless = number, time.monotonic(), False
        self.process = subprocess.Popen(
            command, env=dict(environment), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        self._director, self._died = director, died
        connection = Connection(ours.detach())
        connection.send((settings, number))
        self.channel = Channel(connection, self._handle, died.set)
        self.channel.start()

    def _handle(self, kind: str, content: tuple[Any, ...]) -> Any:
        if kind not in _CHANGES:
            raise ValueError(f"no such call: {kind}")
        return getattr(self._director, kind)(*content)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None


class Supervisor:
    """Starts workers and keeps them alike."""

    def __init__(self, settings: Settings, log: Log) -> None:
        """Reserve the port.

        Raises:
            ConfigError: if it cannot be had.
        """
        self._log = log
        self._socket = _reserve(settings)
        self.port = int(self._socket.getsockname()[1])
        server = settings.server.model_copy(update={"grpc_port": self.port})
        self._settings = settings.model_copy(update={"server": server})
        self._folder = Path(tempfile.mkdtemp(prefix="mulde-metrics-"))
        self._environment = {
            **dict.fromkeys(_ONE_THREAD, "1"),
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            _MULTIPROCESS: str(self._folder),
        }
        repository = Repository(settings.models.dir)
        self.director = Director(repository, self._apply, settings.models.pins)
        self._workers: dict[int, WorkerProcess] = {}
        self._died = threading.Event()
        self._pause_s = 0.0

    def __enter__(self) -> Self:
        """The supervisor itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still runs, free the port, remove the metrics' files."""
        for worker in self._workers.values():
            worker.process.kill()
            worker.process.wait()
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start all workers and load the models.

        Raises:
            BundleError, ConfigError: if nothing can be served.
        """
        for number in range(self._settings.server.workers):
            self._workers[number] = self._new_worker(number)
        self.director.start()

    def _new_worker(self, number: int) -> WorkerProcess:
        return WorkerProcess(number, self._settings, self._environment, self.director, self._died)

    @property
    def is_ready(self) -> bool:
        """Whether any worker can answer."""
        alive = any(worker.is_alive for worker in self._workers.values())
        return alive and bool(self.director.lineup.entries)

    def metrics(self) -> bytes:
        """The workers' metrics, added up."""
        settled = [worker.channel.call("settle") for worker in self._workers.values()]
        wait(settled, timeout=_PATIENCE_S)
        return exposition(shared_registry(self._folder, self._pids))

    def _pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers.values()]

    def _apply(self, lineup: Lineup) -> None:
        """Have all workers load what is new in a lineup, then switch to it."""
        try:
            self._tell_all("prepare", lineup)
        except MuldeError:
            self._tell_all("abort")
            raise
        self._tell_all("commit", lineup)

    def _tell_all(self, kind: str, content: Any = None) -> None:
        """Call all workers at once; one that dies meanwhile is left out, and replaced later."""
        calls = [worker.channel.call(kind, content) for worker in self._workers.values()]
        errors = [error for error in map(_error_of, calls) if error is not None]
        if len(errors) == len(calls) and all(isinstance(error, Gone) for error in errors):
            raise BundleError(self._settings.models.dir, "every worker died while loading it")
        for error in errors:
            if not isinstance(error, Gone):
                raise error

    def watch(self, stop: ShutdownEvent) -> None:
        """Replace workers that die, until told to stop."""
        while not stop.is_set():
            if self._died.wait(0.2):
                self._died.clear()
                self._replace_dead(stop)

    def _replace_dead(self, stop: ShutdownEvent) -> None:
        for number, worker in list(self._workers.items()):
            if worker.channel.is_open and worker.is_alive:
                continue
            worker.process.kill()
            code = worker.process.wait()
            forget_process(worker.process.pid, self._folder)
            if not worker.is_useless:
                self._log.warning("worker died", worker=number, status=code)
            short = time.monotonic() - worker.born < _LONG_LIFE_S
            self._pause_s = self._longer_pause_s() if short else 0.0
            stop.wait(self._pause_s)
            if not stop.is_set():
                self._replace(number)

    def _longer_pause_s(self) -> float:
        return min(_LONGEST_PAUSE_S, max(_SHORTEST_PAUSE_S, 2 * self._pause_s))

    def _replace(self, number: int) -> None:
        """Start another one, which has to load what the others have.

        Where that is gone, or another bundle lies there, the others answer alone, and it is tried
        again after a pause: somebody may put it back, or load another version.
        """
        with self.director.lock:
            worker = self._workers[number] = self._new_worker(number)
            lineup = self.director.lineup
            for kind in ("prepare", "commit"):
                error = _error_of(worker.channel.call(kind, lineup))
                if error is not None:
                    said = "worker cannot start, the others answer; trying again"
                    self._log.error(said, worker=number, error=str(error))
                    worker.is_useless = True
                    # It has the port already, and would tell its callers for ever to wait.
                    worker.process.kill()
                    self._died.set()
                    return
        self._log.info("worker replaced", worker=number)

    def drain(self) -> bool:
        """Tell all workers to finish; those that take longer than the grace time are ended."""
        for worker in self._workers.values():
            worker.channel.call("drain")
        end = time.monotonic() + self._settings.server.grace_s + _GRACE_MARGIN_S
        codes = [_wait(worker.process, end) for worker in self._workers.values()]
        return all(code == 0 for code in codes)


def _error_of(call: Future[Any]) -> BaseException | None:
    return call.exception()


def _wait(process: subprocess.Popen[bytes], end: float) -> int:
    try:
        return process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _reserve(settings: Settings) -> socket.socket:
    """A socket that holds the port for the workers, and never listens.

    Raises:
        ConfigError: if another program has it.
    """
    server = settings.server
    host, port = server.host.strip("[]"), server.grpc_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # First without sharing, or another server that shares the port would not be noticed.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
            port = probe.getsockname()[1]
        reserved = socket.socket(family, socket.SOCK_STREAM)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except OSError as error:
        expected = f"a free port on {host} ({error.strerror})"
        raise ConfigError("server.grpc_port", expected, server.grpc_port) from error
    return reserved

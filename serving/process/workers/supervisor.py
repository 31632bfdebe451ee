"""Start the workers of one server, watch their heartbeats, replace and drain them.

Workers load for themselves and agree on changes of models without the supervisor
(``shared_models.py``). It waits for none of them without a limit: a worker whose heartbeat stops,
or that takes too long to load, is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable

from mulde.errors import MuldeError
from serving.process.monitoring.logs import Log
from serving.process.monitoring.processes import exposition, merge_dead_process, shared_registry
from serving.process.monitoring.systemd import notify
from serving.process.reload import reloaded
from serving.process.settings import Settings
from serving.process.shutdown import ShutdownEvent
from serving.process.workers.run_folder import RunFolder
from serving.process.workers.worker_process import WorkerProcess
from serving.registry.served_models import ServedModels

_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TURN_S = 0.1
_LONG_LIFE_S = 10.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_IMPORT_S = 60.0
_DRAIN_MARGIN_S = 5.0


class Supervisor:
    """Keeps a number of workers alive.

    Attributes:
        settings: in use.
    """

    def __init__(self, settings: Settings, folder: RunFolder, log: Log) -> None:
        """Start no worker yet.

        Args:
            settings: with the port that ``reserve_port`` holds.
            folder: of all workers, empty.
            log: where to say what happens.
        """
        self.settings, self._folder, self._log = settings, folder, log
        self._environment = {
            **dict.fromkeys(_ONE_THREAD, "1"),
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            _MULTIPROCESS: str(folder.metrics),
        }
        self._workers: dict[int, WorkerProcess] = {}
        self._due: dict[int, float] = {}
        self._pauses: dict[int, float] = {}
        self._replacing: set[int] = set()
        self._metrics_lock = threading.Lock()
        self._draining = False
        self._turned = time.monotonic()

    def start(self, shutdown: ShutdownEvent) -> bool:
        """Start all workers; whether they serve, which they do not after a shutdown.

        Raises:
            MuldeError: if one cannot.
        """
        self._share_settings(self.settings)
        numbers = range(self.settings.server.workers)
        self._workers = {number: self._new_worker(number) for number in numbers}
        while len(self._folder.serving()) < len(numbers):
            if shutdown.wait(_TURN_S):
                return False
            self._turned = time.monotonic()
            for worker in self._workers.values():
                reason = self._fault(worker)
                if reason:
                    raise MuldeError(worker.record.error or f"worker {worker.number} {reason}")
        return True

    def reload(self, read: Callable[[], Settings]) -> None:
        """Read the settings again, and have all workers do so."""
        self.settings = reloaded(self.settings, read, self._log, self._share_settings)
        for worker in self._workers.values():
            if worker.record.state == "serving":
                worker.process.send_signal(signal.SIGHUP)

    def _share_settings(self, settings: Settings) -> None:
        self._folder.write_settings(settings.model_dump(mode="json"))

    def _new_worker(self, number: int) -> WorkerProcess:
        return WorkerProcess(number, self._folder, self._environment)

    def close(self) -> None:
        """End what still runs, and remove the folder."""
        for worker in self._workers.values():
            worker.end()
        shutil.rmtree(self._folder.path, ignore_errors=True)

    # What probes and Prometheus are told.

    @property
    def served_models(self) -> ServedModels:
        """The models that are served."""
        return self._folder.served().served_models

    def is_live(self) -> bool:
        """Whether the supervisor itself does its work."""
        return time.monotonic() - self._turned < self.settings.server.heartbeat_timeout_s

    def readiness(self) -> tuple[bool, str]:
        """Whether any worker answers, and how many do."""
        if self._draining:
            return False, "draining"
        ready = [worker for worker in list(self._workers.values()) if self._is_ready(worker)]
        sentence = f"{len(ready)} of {self.settings.server.workers} workers ready"
        troubles = {worker.record.trouble for worker in list(self._workers.values())} - {""}
        return bool(ready), "; ".join([sentence, *sorted(troubles)])

    def _is_ready(self, worker: WorkerProcess) -> bool:
        late = worker.silence_s > self.settings.server.heartbeat_timeout_s / 2
        record = worker.record
        return not late and not worker.has_ended and record.ready and record.state == "serving"

    def metrics(self) -> bytes:
        """The workers' metrics, added up."""
        with self._metrics_lock:
            return exposition(shared_registry(self._folder.metrics, self._pids))

    def _pids(self) -> list[int]:
        return [worker.process.pid for worker in list(self._workers.values())]

    # Watching.

    def watch(self, shutdown: ShutdownEvent) -> None:
        """Replace workers that die or stand still, until told to stop."""
        while not shutdown.wait(_TURN_S):
            notify("WATCHDOG=1")
            try:
                self._turn()
            except (MuldeError, OSError) as error:  # such as no memory for a process
                self._log.error("supervision failed; trying again", error=str(error))

    def _turn(self) -> None:
        now = time.monotonic()
        if now - self._turned > self.settings.server.heartbeat_timeout_s / 2:
            # The supervisor itself stood still, and perhaps the whole machine with it.
            for worker in self._workers.values():
                worker.reset_silence()
        self._turned = now
        for worker in list(self._workers.values()):
            reason = self._fault(worker)
            if reason:
                self._remove(worker, reason)
        for number, due in list(self._due.items()):
            if now >= due:
                self._workers[number] = self._new_worker(number)
                del self._due[number]
        replaced = self._replacing & set(self._folder.serving()) if self._replacing else set()
        for number in replaced:
            self._replacing.discard(number)
            self._log.info("worker replaced", worker=number)

    def _fault(self, worker: WorkerProcess) -> str:
        """Why a worker has to be replaced; empty where it need not."""
        server, record, silence_s = self.settings.server, worker.record, worker.silence_s
        if worker.has_ended:
            return f"ended with status {worker.process.returncode}"
        if silence_s > (server.heartbeat_timeout_s if worker.has_beaten else _IMPORT_S):
            return f"had no heartbeat for {silence_s:.1f} s"
        if record.state == "failed":
            return f"failed: {record.error}"
        age_s = time.monotonic() - worker.born
        if record.state == "loading" and age_s > _IMPORT_S + 2 * server.change_timeout_s:
            return f"has not loaded its models in {age_s:.0f} s"
        return ""

    def _remove(self, worker: WorkerProcess, reason: str) -> None:
        """Take a worker out, and plan its replacement after a pause that grows."""
        number, record = worker.number, worker.record
        if record.state == "failed":
            said = "worker cannot start, the others answer; trying again"
            self._log.error(said, worker=number, error=record.error)
        else:
            self._log.warning("worker died", worker=number, reason=reason)
        del self._workers[number]
        if not worker.end():
            self._log.error("killed worker does not end", worker=number, pid=worker.process.pid)
        self._replacing.add(number)
        with self._metrics_lock:
            merge_dead_process(worker.process.pid, self._folder.metrics)
        long_lived = time.monotonic() - worker.born > _LONG_LIFE_S and record.state == "serving"
        pause_s = 0.0 if long_lived else max(_SHORTEST_PAUSE_S, 2 * self._pauses.get(number, 0.0))
        self._pauses[number] = min(_LONGEST_PAUSE_S, pause_s)
        self._due[number] = time.monotonic() + self._pauses[number]

    # Draining.

    def drain(self) -> bool:
        """Have all workers finish their calls; whether every call was answered.

        A worker that stands still, or takes longer than the grace time, is killed.
        """
        self._draining = True
        end = time.monotonic() + self.settings.server.grace_s + _DRAIN_MARGIN_S
        workers = list(self._workers.values())
        serving = [worker for worker in workers if worker.record.state == "serving"]
        for worker in workers:
            worker.process.send_signal(signal.SIGTERM if worker in serving else signal.SIGKILL)
        endings = [self._ends_well(worker, end) for worker in serving]
        return all(endings)

    def _ends_well(self, worker: WorkerProcess, end: float) -> bool:
        """Wait for a worker to end by itself; whether it had answered every call."""
        while not worker.has_ended:
            self._turned = time.monotonic()
            frozen = worker.silence_s > self.settings.server.heartbeat_timeout_s
            if frozen or time.monotonic() >= end:
                return False
            time.sleep(_TURN_S)
        return worker.process.returncode == 0

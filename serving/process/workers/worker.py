"""One of several processes on one port: ``python -m serving.process.workers.worker FOLDER NUMBER``.

The supervisor starts it with a pipe as its standard input; the end of the pipe is the supervisor's
end. The worker loads for itself, listens, and follows changes of models (``shared_models.py``).
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path

from mulde.errors import MuldeError
from serving.process.monitoring.logs import open_log
from serving.process.server import Server
from serving.process.settings import Settings
from serving.process.shutdown import ShutdownEvent, leave
from serving.process.workers.run_folder import RunFolder, WorkerRecord
from serving.process.workers.shared_models import SharedModels
from serving.registry.manager import LocalModels, ModelManager
from serving.registry.registry import Registry
from serving.registry.repository import Repository
from serving.registry.served_models import ServedModels


class Worker:
    """The process: a server, a heartbeat, and a part in changes of models.

    Attributes:
        is_orphan: whether the supervisor has ended.
    """

    def __init__(self, folder: RunFolder, number: int) -> None:
        """Begin the heartbeat; ``run`` loads and serves."""
        self.is_orphan = False
        self._folder, self._number = folder, number
        self._shutdown = ShutdownEvent()
        self._shutdown.handle_signals()
        self._settings = self._read_settings()
        self._log = open_log(self._settings.log, worker=number)
        folder.write_record(number, WorkerRecord(os.getpid()))
        threading.Thread(target=self._watch_supervisor, name="supervisor", daemon=True).start()
        self._server = Server(self._settings, self._log, self._changes)
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def _read_settings(self) -> Settings:
        return Settings.model_validate(self._folder.settings())

    def _changes(self, registry: Registry) -> ModelManager:
        self._models = SharedModels(
            self._folder,
            self._number,
            registry,
            self._log,
            timeout_s=self._settings.server.change_timeout_s,
        )
        models = self._settings.models
        return ModelManager(Repository(models.dir), self._models, models.pins)

    def _watch_supervisor(self) -> None:
        os.read(0, 1)
        self.is_orphan = True
        self._shutdown.set()

    def _beat(self) -> None:
        while True:
            next_s = self._server.look_after()
            self._models.tell_readiness(*self._server.readiness())
            self._folder.beat(self._number)
            time.sleep(next_s)

    def run(self) -> bool:
        """Load, serve until told to drain; whether every call was answered.

        Raises:
            MuldeError: if it cannot begin.
        """
        self._models.join(self._load_first, self._listen)
        self._shutdown.reload = lambda: self._server.reload(self._read_settings)
        self._shutdown.wait()
        return self._server.drain()

    def _load_first(self) -> ServedModels:
        """Choose and load the models of a server that starts."""
        models, local = self._settings.models, LocalModels(self._server.registry.apply)
        ModelManager(Repository(models.dir), local, models.pins).start()
        return local.served_models

    def _listen(self) -> None:
        self._server.listen(self._settings.server.grpc_port)


def main() -> None:
    """Serve on behalf of a supervisor; an error is left in the worker's record."""
    folder, number = RunFolder(Path(sys.argv[1])), int(sys.argv[2])
    try:
        worker = Worker(folder, number)
        done = worker.run()
    except MuldeError as error:
        folder.write_record(number, WorkerRecord(os.getpid(), "failed", error=str(error)))
        leave(1)
    if worker.is_orphan:
        shutil.rmtree(folder.path, ignore_errors=True)
    leave(0 if done else 1)


if __name__ == "__main__":
    main()

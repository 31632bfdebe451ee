"""A worker as the supervisor sees it: its process, its record and its heartbeat."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

from serving.process.workers.run_folder import RunFolder, WorkerRecord

_KILL_S = 1.0


class WorkerProcess:
    """A started worker."""

    def __init__(self, number: int, folder: RunFolder, environment: Mapping[str, str]) -> None:
        """Start the process."""
        self.number, self._folder = number, folder
        command = [sys.executable, "-m", "serving.process.workers.worker"]
        # The end of the pipe tells a worker that the supervisor has ended. A session of its own
        # keeps signals of the terminal from it.
        self.process = subprocess.Popen(
            [*command, str(folder.path), str(number)],
            env=dict(environment),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self.born = self._beaten = time.monotonic()
        self._beat = 0

    @property
    def record(self) -> WorkerRecord:
        """What the worker says about itself."""
        record = self._folder.record(self.number)
        return record or WorkerRecord(self.process.pid)

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    @property
    def silence_s(self) -> float:
        """Seconds since its last heartbeat, or since it was started."""
        beat, now = self._folder.heartbeat(self.number), time.monotonic()
        if beat != self._beat:
            self._beat, self._beaten = beat, now
        return now - self._beaten

    @property
    def has_beaten(self) -> bool:
        """Whether there was a heartbeat."""
        return self._beat != 0

    def reset_silence(self) -> None:
        """Count the silence from now on."""
        self._beaten = time.monotonic()

    def end(self) -> bool:
        """Kill it, and remove what it said; whether it ended within a second."""
        assert self.process.stdin is not None
        self.process.kill()
        self.process.stdin.close()
        self._folder.forget(self.number)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_KILL_S)
        return self.has_ended

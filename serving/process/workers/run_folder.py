"""The private folder through which the processes of one server agree on what they serve.

    settings.json     written by the supervisor, read by each worker
    served.json       the models that all workers serve, and their generation: the decision
    proposed.json     the models of the next generation, while workers load them
    change.lock       held (flock) by the worker that changes the models, or that joins
    workers/N.json    written by worker N: what it does; its time of change is the heartbeat
    metrics/          values of prometheus_client, one set of files for each worker

``state_file.py`` has the form of the files.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mulde.errors import ChangeTimedOut, ConfigError
from serving.process.workers.state_file import read_state, stamp, try_lock, write_state
from serving.registry.repository import Place
from serving.registry.served_models import Entry, ServedModels

_PAUSE_S = 0.02


@dataclass(frozen=True)
class Generation:
    """What is served, and how often that has changed; generation 0 is the time before a start.

    Attributes:
        expires_s: ``time.monotonic`` after which a proposal that was not decided is void.
    """

    number: int = 0
    served_models: ServedModels = field(default_factory=ServedModels)
    expires_s: float = 0.0


@dataclass(frozen=True)
class WorkerRecord:
    """What a worker says about itself.

    Attributes:
        pid: of its process.
        state: what it does; a worker that failed says why in ``error`` and ends.
        generation: which it serves.
        answered: the newest proposal that it has loaded, or could not load.
        error: why it could not; empty if it could.
        ready: whether it can answer callers.
        trouble: what is wrong; empty if nothing is.
    """

    pid: int
    state: Literal["loading", "serving", "failed"] = "loading"
    generation: int = 0
    answered: int = 0
    error: str = ""
    ready: bool = True
    trouble: str = ""


class RunFolder:
    """Paths and contents of the folder; a worker and the supervisor each hold one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics"
        self.workers = path / "workers"

    @classmethod
    def create(cls) -> RunFolder:
        """Make a folder that only this user can enter.

        It is locked, so that services which clean temporary folders leave it alone.

        Raises:
            ConfigError: if there is no place for it.
        """
        try:
            folder = cls(Path(tempfile.mkdtemp(prefix="mulde-run-")))
            fcntl.flock(os.open(folder.path, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH)
            folder.metrics.mkdir()
            folder.workers.mkdir()
        except OSError as error:
            expected = f"a folder for temporary files that can be written ({error.strerror})"
            raise ConfigError("TMPDIR", expected, os.environ.get("TMPDIR", "none")) from error
        return folder

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Store the settings of all workers."""
        write_state(self.path / "settings.json", settings)

    def settings(self) -> dict[str, Any]:
        """The settings of all workers."""
        return read_state(self.path / "settings.json") or {}

    def served(self) -> Generation:
        """The generation that was decided last."""
        return _generation(read_state(self.path / "served.json"))

    def decide(self, generation: Generation) -> None:
        """Make a generation the one that all workers serve."""
        write_state(self.path / "served.json", _content(generation))

    def proposed(self) -> Generation:
        """The generation that was proposed last."""
        return _generation(read_state(self.path / "proposed.json"))

    def propose(self, generation: Generation) -> None:
        """Ask all workers to load a generation."""
        write_state(self.path / "proposed.json", _content(generation))

    def stamps(self) -> tuple[int, int]:
        """Change whenever ``served`` or ``proposed`` does."""
        return stamp(self.path / "served.json"), stamp(self.path / "proposed.json")

    def record(self, number: int) -> WorkerRecord | None:
        """What a worker says; None for one that says nothing."""
        content = read_state(self._record_path(number))
        return None if content is None else WorkerRecord(**content)

    def write_record(self, number: int, record: WorkerRecord) -> None:
        """Say something as a worker."""
        write_state(self._record_path(number), asdict(record))

    def beat(self, number: int) -> None:
        """Renew the heartbeat of a worker."""
        os.utime(self._record_path(number))

    def heartbeat(self, number: int) -> int:
        """A number that changes with each heartbeat; 0 for a worker that has none yet."""
        return stamp(self._record_path(number))

    def forget(self, number: int) -> None:
        """Remove what a worker said that is no more."""
        self._record_path(number).unlink(missing_ok=True)

    def serving(self) -> dict[int, WorkerRecord]:
        """The workers that serve, by number."""
        numbers = [int(path.stem) for path in self.workers.glob("[0-9]*.json")]
        records = {number: self.record(number) for number in sorted(numbers)}
        return {n: record for n, record in records.items() if record and record.state == "serving"}

    @contextmanager
    def changing(self, timeout_s: float, number: int) -> Iterator[None]:
        """Hold the lock under which models are changed and workers join.

        The system frees it when its holder dies.

        Raises:
            ChangeTimedOut: naming the worker that holds it.
        """
        end = time.monotonic() + timeout_s
        handle = os.open(self.path / "change.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not try_lock(handle):
                if time.monotonic() >= end:
                    holder = os.pread(handle, 16, 0).decode("ascii", "replace").strip()
                    raise ChangeTimedOut(f"worker {holder} is still changing the models", timeout_s)
                time.sleep(_PAUSE_S)
            os.pwrite(handle, f"{number:<16}".encode("ascii"), 0)
            yield
        finally:
            os.close(handle)

    def _record_path(self, number: int) -> Path:
        return self.workers / f"{number}.json"


def _content(generation: Generation) -> dict[str, Any]:
    entries = {
        name: {
            "current": entry.current,
            "pinned": entry.pinned,
            "places": {v: [str(p.path), p.digest] for v, p in entry.places.items()},
        }
        for name, entry in generation.served_models.entries.items()
    }
    failures = [[*key, reason] for key, reason in generation.served_models.failures.items()]
    return {
        "number": generation.number,
        "expires_s": generation.expires_s,
        "entries": entries,
        "failures": failures,
    }


def _generation(content: dict[str, Any] | None) -> Generation:
    if content is None:
        return Generation()
    entries = {
        name: Entry(
            {v: Place(name, v, Path(p), digest) for v, (p, digest) in entry["places"].items()},
            entry["current"],
            entry["pinned"],
        )
        for name, entry in content["entries"].items()
    }
    failures = {(name, version): reason for name, version, reason in content["failures"]}
    return Generation(content["number"], ServedModels(entries, failures), content["expires_s"])

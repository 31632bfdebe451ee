"""Change the models of all workers together: all serve a new generation, or none does.

The worker that is asked for a change proposes the next generation. Each worker that serves loads
it beside the present one and answers, or says why it cannot. If all can, the worker decides, with
one atomic write of ``served.json``; otherwise it withdraws the proposal. Every worker follows that
file: its replacement too, which loads the decided generation before it listens.

A worker that dies meanwhile is left out, since its replacement starts from the decision. A frozen
worker is killed by the supervisor and so left out too. Every wait has a limit.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from mulde.errors import BundleError, ChangeTimedOut, MuldeError
from serving.process.monitoring.logs import Log
from serving.process.workers.run_folder import Generation, RunFolder, WorkerRecord
from serving.registry.registry import Registry
from serving.registry.served_models import ServedModels

_POLL_S = 0.05


class SharedModels:
    """One worker's part in changes; the methods of ``ServedState`` propose and decide."""

    def __init__(
        self, folder: RunFolder, number: int, registry: Registry, log: Log, timeout_s: float
    ) -> None:
        """Take no part yet; ``join`` begins.

        Args:
            folder: of all workers.
            number: of this worker.
            registry: the models of this process.
            log: where to say what failed.
            timeout_s: in which a worker has to load a generation.
        """
        self._folder, self._number, self._registry, self._log = folder, number, registry, log
        self._timeout_s = timeout_s
        self._record = WorkerRecord(os.getpid())
        self._lock = threading.Lock()
        self._end = 0.0

    def join(self, start: Callable[[], ServedModels], listen: Callable[[], None]) -> None:
        """Load what the others serve, then listen, and follow every later decision.

        Args:
            start: loads the first generation where no worker has done so yet.
            listen: begins to take connections.

        Raises:
            MuldeError: if the models cannot be loaded or the port cannot be bound.
        """
        while True:
            with self._folder.changing(self._timeout_s, self._number):
                decided = self._folder.served()
                if decided.number == 0:
                    decided = Generation(1, start())
                    self._folder.decide(decided)
                    self._record = replace(self._record, generation=1)
                if decided.number == self._record.generation:
                    listen()
                    self._say(state="serving")
                    threading.Thread(target=self._follow, name="models", daemon=True).start()
                    return
            self._registry.apply(decided.served_models)
            self._record = replace(self._record, generation=decided.number)

    def tell_readiness(self, ready: bool, trouble: str) -> None:
        """Say whether this worker can answer, where that has changed."""
        if (ready, trouble) != (self._record.ready, self._record.trouble):
            self._say(ready=ready, trouble=trouble)

    def _say(self, **facts: object) -> None:
        with self._lock:
            self._record = replace(self._record, **facts)  # type: ignore[arg-type]
            self._folder.write_record(self._number, self._record)

    # A change: the part of the worker that is asked for it.

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock under which models are changed; the time for the change begins now."""
        self._end = time.monotonic() + self._timeout_s
        with self._folder.changing(self._timeout_s, self._number):
            yield

    @property
    def served_models(self) -> ServedModels:
        """The models that all workers serve."""
        return self._folder.served().served_models

    def switch(self, served_models: ServedModels) -> None:
        """Have all workers load the versions that are new, then serve ``served_models``.

        Raises:
            BundleError: if a worker cannot load it; nothing has changed then.
            ChangeTimedOut: if a worker does not answer in time; nothing has changed then.
        """
        served = self._folder.served()
        number = max(served.number, self._folder.proposed().number) + 1
        if not _places(served_models) <= _places(served.served_models):
            self._load_everywhere(number, served_models)
        self._folder.decide(Generation(number, served_models))
        self._wait_for(0, lambda record: record.generation >= number)

    def _load_everywhere(self, number: int, served_models: ServedModels) -> None:
        """Have every worker load a generation; withdraw it where one cannot."""
        self._folder.propose(Generation(number, served_models, self._end))
        try:
            late = self._wait_for(number, lambda record: record.answered >= number)
            if late:
                raise ChangeTimedOut(f"worker {late[0]} has not loaded the models", self._timeout_s)
        except MuldeError:
            self._folder.propose(Generation(number))
            raise

    def _wait_for(self, number: int, holds: Callable[[WorkerRecord], bool]) -> list[int]:
        """Wait until something holds for every worker that serves; those for which it does not.

        Raises:
            BundleError: if a worker could not load the proposal of that number.
        """
        while True:
            serving = self._folder.serving()
            for worker, record in serving.items():
                if record.answered == number and record.error:
                    raise BundleError(f"worker {worker}", record.error)
            late = [worker for worker, record in serving.items() if not holds(record)]
            if not late or time.monotonic() >= self._end:
                return late
            time.sleep(_POLL_S)

    # The part of every worker that serves.

    def _follow(self) -> None:
        seen = (0, 0)
        staged = Generation()
        while True:
            try:
                stamps = self._folder.stamps()
                if stamps != seen or 0 < staged.expires_s < time.monotonic():
                    staged = self._look(staged)
                    seen = stamps
            except Exception as error:  # the supervisor replaces a worker that failed
                self._log.error("cannot follow a change of models", error=str(error))
                self._say(state="failed", error=str(error))
                return
            time.sleep(_POLL_S)

    def _look(self, staged: Generation) -> Generation:
        """Serve what was decided, load what is proposed; what is loaded and not decided yet."""
        decided, proposed = self._folder.served(), self._folder.proposed()
        if decided.number > self._record.generation:
            self._serve(decided, staged)
            return Generation()
        if proposed.number > self._record.answered and proposed.expires_s > time.monotonic():
            return self._load(proposed)
        if staged.number and (proposed.number != staged.number or not _is_open(proposed)):
            self._registry.abort()
            return Generation()
        return staged

    def _load(self, proposed: Generation) -> Generation:
        try:
            self._registry.prepare(proposed.served_models)
        except Exception as error:
            self._registry.abort()
            reason = str(error) if isinstance(error, MuldeError) else f"{type(error).__name__}"
            self._say(answered=proposed.number, error=reason)
            return Generation()
        self._say(answered=proposed.number, error="")
        return proposed

    def _serve(self, decided: Generation, staged: Generation) -> None:
        if staged.number != decided.number:
            self._registry.prepare(decided.served_models)
        self._registry.commit(decided.served_models)
        self._say(generation=decided.number)


def _is_open(proposed: Generation) -> bool:
    """Whether a proposal may still be decided."""
    return proposed.expires_s > time.monotonic()


def _places(served_models: ServedModels) -> set[tuple[str, str, str]]:
    return {
        (place.name, place.version, place.digest)
        for entry in served_models.entries.values()
        for place in entry.places.values()
    }

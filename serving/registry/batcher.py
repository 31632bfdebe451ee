"""Dynamic batching: callers that wait at the same time share one run of the engine.

Whoever comes while nothing runs becomes the leader: it runs at once, in its own thread, without a
hand-over. Whoever comes meanwhile waits in the queue; when the leader is done, the first of the
queue leads, and takes along as many as fit. So a lone caller pays nothing for batching, and batches
grow by themselves as load does. A delay may be set, for which a leader waits for company.

Every waiter gets exactly one outcome: its result, its error, or its deadline. If a batch fails, its
jobs run one by one, so that a bad job fails alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

from mulde.errors import DeadlineExceeded, Overloaded

Work = TypeVar("Work")
Result = TypeVar("Result")

_LEAD = object()


class _Job(Generic[Work, Result]):
    """Work in the queue, and the place for its outcome."""

    __slots__ = (
        "_outcome",
        "_ready",
        "deadline",
        "key",
        "promoted",
        "size",
        "submitted",
        "wanted",
        "work",
    )

    def __init__(
        self,
        work: Work,
        key: Hashable,
        size: int,
        deadline: float | None,
        wanted: Callable[[], bool],
    ) -> None:
        self.work, self.key, self.size = work, key, size
        self.deadline, self.wanted = deadline, wanted
        self.submitted = monotonic()
        self.promoted = False
        self._ready = threading.Lock()
        self._ready.acquire()
        self._outcome: object = None

    def settle(self, outcome: object) -> None:
        """Wake the waiter: with a result, an error, or the order to lead."""
        self._outcome = outcome
        self._ready.release()

    def wait(self) -> object:
        """Sleep until settled.

        Raises:
            DeadlineExceeded: if the deadline comes first.
        """
        timeout = -1.0 if self.deadline is None else max(0.0, self.deadline - monotonic())
        if not self._ready.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            raise DeadlineExceeded
        return self._outcome

    def is_expired(self) -> bool:
        """Whether nobody waits for it any more."""
        late = self.deadline is not None and monotonic() >= self.deadline
        return late or not self.wanted()


class Batcher(Generic[Work, Result]):
    """A queue in front of something that is faster on batches."""

    def __init__(
        self,
        run: Callable[[Sequence[Work]], Sequence[Result]],
        *,
        max_batch: int = 1024,
        max_waiting: int = 4096,
        max_delay_s: float = 0.0,
    ) -> None:
        """Make an empty queue.

        Args:
            run: answers several pieces of work of one key, in order.
            max_batch: most queries (sizes added up) in one run; a larger job runs alone.
            max_waiting: most queries in the queue; more are refused at once.
            max_delay_s: how long a leader waits for its batch to fill; 0 for not at all.
        """
        self._run, self._max_batch = run, max_batch
        self._max_waiting, self._max_delay_s = max_waiting, max_delay_s
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._queue: deque[_Job[Work, Result]] = deque()
        self._waiting = 0
        self._running = False

    @property
    def waiting(self) -> int:
        """Queries in the queue."""
        return self._waiting

    def submit(
        self,
        work: Work,
        *,
        key: Hashable = None,
        size: int = 1,
        deadline: float | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Result:
        """Run work, perhaps together with that of other callers.

        Args:
            work: what ``run`` takes.
            key: only work of equal keys shares a batch.
            size: how many queries it holds.
            deadline: ``time.monotonic`` at which the caller stops waiting.
            wanted: tells whether the caller still waits; asked before the work begins.

        Raises:
            Overloaded: at once, if the queue is full.
            DeadlineExceeded: if the deadline passes, or the caller leaves, before the work begins.
            Exception: whatever ``run`` raises for this work.
        """
        with self._lock:
            alone = not self._running and not self._max_delay_s
            self._running = self._running or alone
        if alone:
            return self._run_alone(work, deadline, wanted)
        job: _Job[Work, Result] = _Job(work, key, size, deadline, wanted)
        with self._lock:
            if self._waiting and self._waiting + size > self._max_waiting:
                raise Overloaded(self._max_waiting, "waiting queries")
            self._queue.append(job)
            self._waiting += size
            leads, self._running = not self._running, True
            if self._waiting >= self._max_batch:
                self._filled.notify()
        if leads:
            return self._lead(job)
        try:
            outcome = job.wait()
        except DeadlineExceeded:
            self._abandon(job)
            raise
        result: Result = self._lead(job) if outcome is _LEAD else _unwrap(outcome)
        return result

    def _run_alone(self, work: Work, deadline: float | None, wanted: Callable[[], bool]) -> Result:
        """Run at once what found nothing running; then let the first of the queue lead."""
        try:
            if (deadline is not None and monotonic() >= deadline) or not wanted():
                raise DeadlineExceeded
            (result,) = self._run([work])
            return result
        finally:
            with self._lock:
                self._promote()

    def _lead(self, own: _Job[Work, Result]) -> Result:
        """Run a batch with one's own job first; then let the first of the queue lead."""
        try:
            batch = self._gather(own)
            outcomes: list[object] = [_Failure(RuntimeError("the batch was given up"))] * len(batch)
            try:
                outcomes = self._outcomes(batch)
            finally:
                for job, outcome in zip(batch[1:], outcomes[1:], strict=True):
                    job.settle(outcome)
        finally:
            with self._lock:
                self._promote()
        result: Result = _unwrap(outcomes[0])
        return result

    def _gather(self, own: _Job[Work, Result]) -> list[_Job[Work, Result]]:
        """Take one's own job and those that fit beside it out of the queue."""
        with self._lock:
            if self._max_delay_s and self._waiting < self._max_batch:
                left = own.submitted + self._max_delay_s - monotonic()
                self._filled.wait_for(lambda: self._waiting >= self._max_batch, max(0.0, left))
            batch, room = [own], self._max_batch - own.size
            rest: deque[_Job[Work, Result]] = deque()
            for job in self._queue:
                if job is own:
                    self._waiting -= job.size
                elif job.key == own.key and job.size <= room:
                    batch.append(job)
                    room -= job.size
                    self._waiting -= job.size
                else:
                    rest.append(job)
            self._queue = rest
        return batch

    def _outcomes(self, batch: list[_Job[Work, Result]]) -> list[object]:
        """A result or an error for each job; those that nobody waits for are not run."""
        late = [job.is_expired() for job in batch]
        wanted = [job.work for job, gone in zip(batch, late, strict=True) if not gone]
        results = iter(self._results(wanted))
        return [_Failure(DeadlineExceeded()) if gone else next(results) for gone in late]

    def _results(self, wanted: list[Work]) -> list[object]:
        if not wanted:
            return []
        try:
            results = list(self._run(wanted))
            if len(results) != len(wanted):
                raise RuntimeError(f"expected {len(wanted)} results, found {len(results)}")
        except Exception as error:  # whatever it is, it belongs to one job; find out to which
            if len(wanted) == 1:
                return [_Failure(error)]
            return [outcome for work in wanted for outcome in self._results([work])]
        return list(results)

    def _promote(self) -> None:
        """Make the first of the queue lead, or nobody. The lock is held."""
        if self._queue:
            job = self._queue[0]
            job.promoted = True
            job.settle(_LEAD)
        else:
            self._running = False

    def _abandon(self, job: _Job[Work, Result]) -> None:
        """Leave the queue; if the order to lead came meanwhile, hand it on."""
        with self._lock:
            if job in self._queue:
                self._queue.remove(job)
                self._waiting -= job.size
                if job.promoted:
                    self._promote()


class _Failure:
    """An error on its way to the waiter that it belongs to."""

    __slots__ = ("_errors",)

    def __init__(self, error: Exception) -> None:
        self._errors = [error]

    def take(self) -> Exception:
        """The error, once.

        An error that is raised refers to its caller's frames, and these to the outcome. Referring
        back, an outcome would keep them all, and the model with them, long after the call.
        """
        return self._errors.pop()


def _unwrap(outcome: object) -> Any:
    """The result, or the error raised."""
    if isinstance(outcome, _Failure):
        raise outcome.take()
    return outcome

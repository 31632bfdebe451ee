"""Share the engine between requests: small ones run together, large ones in chunks, in turns.

A request that fits in one chunk is **interactive**; a larger one is **bulk** and asks for one chunk
after another. One run of the engine takes place at a time, in the thread of the request that leads
it. A request that finds the engine idle leads at once. Requests that arrive meanwhile wait; after a
run, interactive ones and bulk chunks take turns. Interactive ones with equal keys share a run. So
an interactive request waits for at most one bulk chunk, and bulk requests advance at equal pace.

The size of a chunk follows the measured speed of its kind of work, so that a run takes about
``chunk_s``.

Each waiting request gets exactly one outcome: its result, its error, or its deadline. If a shared
run fails, its requests run one by one, so that a bad one fails alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from time import monotonic, perf_counter
from typing import Any, Protocol, TypeVar

from mulde.errors import DeadlineExceeded

W = TypeVar("W")
R = TypeVar("R")
Run = Callable[[Sequence[Any]], Sequence[Any]]

_LEAD = object()
_FEW = 8
"""Requests that may always wait, for they share the next run."""
_FIRST_S = 1e-3
"""Seconds of a query before the first run of its kind."""
_OVERHEAD = 2
"""What a run costs besides its queries, in queries."""
_NEWEST = 0.25
"""Weight of the newest run in the measured speed."""
_GROWTH = 4
"""How many times larger than the one before a chunk may be."""


class Caller(Protocol):
    """The request that waits for work."""

    @property
    def deadline(self) -> float | None:
        """``time.monotonic`` at which it stops waiting; None for no end."""

    def is_wanted(self) -> bool:
        """Whether it was neither cancelled nor out of time."""

    def enter_bulk(self) -> None:
        """Count it as a bulk request; may raise Overloaded."""


class Batcher:
    """A queue in front of the engines of one process."""

    def __init__(
        self,
        *,
        chunk_s: float = 0.01,
        max_batch: int = 1024,
        observe: Callable[[int], None] = lambda queries: None,
    ) -> None:
        """Make an empty queue.

        Args:
            chunk_s: seconds that one run shall take; the longest wait of an interactive request.
            max_batch: most queries in one run.
            observe: called with the number of queries of each run.
        """
        self._chunk_s, self._max_batch, self._observe = chunk_s, max_batch, observe
        self._lock = threading.Lock()
        self._queues: dict[bool, deque[_Job]] = {False: deque(), True: deque()}
        self._running = False
        self._seconds: dict[Hashable, float] = {}

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(map(len, self._queues.values()))

    def waited_s(self) -> float:
        """How long the first interactive request of the queue has waited; 0 where few wait."""
        queue = self._queues[False]
        if len(queue) < _FEW:
            return 0.0
        try:
            return monotonic() - queue[0].submitted
        except IndexError:  # taken meanwhile
            return 0.0

    def chunk(self, kind: Hashable) -> int:
        """Queries of that kind that one run takes at most."""
        seconds = self._seconds.get(kind, _FIRST_S)
        return max(1, min(self._max_batch, int(self._chunk_s / seconds)))

    def run(
        self,
        work_of: Callable[[int, int], W],
        run: Callable[[Sequence[W]], Sequence[R]],
        size: int,
        caller: Caller,
        *,
        kind: Hashable,
        key: Hashable = None,
    ) -> Iterator[R]:
        """Results of a request of ``size`` queries, in order, chunk by chunk.

        Args:
            work_of: the work of queries ``start`` to ``stop``.
            run: answers several pieces of work with equal keys.
            size: number of queries.
            caller: whose deadline and cancellation end the work between chunks.
            kind: what the speed depends on; one of few.
            key: requests with equal keys may share a run; None for not sharing.

        Raises:
            DeadlineExceeded: if the caller does not wait any more.
            Overloaded: if it takes several chunks, and too many such requests are in flight.
            Exception: what ``run`` raises for this work.
        """
        chunk = self.chunk(kind)
        if size <= chunk:
            if size:
                yield self._submit(_Job(work_of(0, size), run, size, caller, kind, key, False))
            return
        caller.enter_bulk()
        start = 0
        while start < size:
            # Equal parts: a short last one would cost a run of its own for a few queries.
            stop = start + -(-(size - start) // -(-(size - start) // chunk))
            yield self._submit(
                _Job(work_of(start, stop), run, stop - start, caller, kind, key, True)
            )
            start, chunk = stop, min(self.chunk(kind), _GROWTH * chunk)

    def _submit(self, job: _Job) -> Any:
        with self._lock:
            leads = not self._running
            self._running = True
            if not leads:
                self._queues[job.bulk].append(job)
        if not leads:
            try:
                outcome = job.wait()
            except DeadlineExceeded:
                self._abandon(job)
                raise
            if outcome is not _LEAD:
                return _unwrap(outcome)
        return self._lead(job)

    def _lead(self, own: _Job) -> Any:
        """Run a batch with one's own job first; then let the next job lead."""
        try:
            batch = self._gather(own)
            outcomes: list[object] = [_Failure(RuntimeError("the batch was given up"))] * len(batch)
            try:
                outcomes = self._outcomes(batch)
            finally:
                for job, outcome in zip(batch[1:], outcomes[1:], strict=True):
                    job.settle(outcome)
        finally:
            self._promote(own.bulk)
        return _unwrap(outcomes[0])

    def _gather(self, own: _Job) -> list[_Job]:
        """One's own job, and the waiting ones that may share its run."""
        queue = self._queues[False]
        if own.bulk or own.key is None or not queue:
            return [own]
        batch, room = [own], self.chunk(own.kind) - own.size
        with self._lock:
            rest: deque[_Job] = deque()
            for job in queue:
                if job.key == own.key and job.size <= room:
                    batch.append(job)
                    room -= job.size
                else:
                    rest.append(job)
            self._queues[False] = rest
        return batch

    def _outcomes(self, batch: list[_Job]) -> list[object]:
        """A result or an error for each job; those whose caller left are not run."""
        late = [job.is_expired() for job in batch]
        wanted = [job for job, gone in zip(batch, late, strict=True) if not gone]
        results = iter(self._results(wanted))
        return [_Failure(DeadlineExceeded()) if gone else next(results) for gone in late]

    def _results(self, jobs: list[_Job]) -> list[object]:
        if not jobs:
            return []
        start = perf_counter()
        try:
            results = list(jobs[0].run([job.work for job in jobs]))
            if len(results) != len(jobs):
                raise RuntimeError(f"expected {len(jobs)} results, found {len(results)}")
        except Exception as error:  # it belongs to one job; find out to which
            if len(jobs) == 1:
                return [_Failure(error)]
            return [outcome for job in jobs for outcome in self._results([job])]
        queries = sum(job.size for job in jobs)
        self._measure(jobs[0].kind, (perf_counter() - start) / (queries + _OVERHEAD))
        self._observe(queries)
        return results

    def _measure(self, kind: Hashable, seconds: float) -> None:
        former = self._seconds.get(kind, seconds)
        self._seconds[kind] = former + _NEWEST * (seconds - former)

    def _promote(self, bulk: bool) -> None:
        """Let the next job lead: of the other class than the last one, where any waits."""
        with self._lock:
            queue = self._queues[not bulk] or self._queues[bulk]
            if queue:
                job = queue.popleft()
                job.promoted = True
                job.settle(_LEAD)
            else:
                self._running = False

    def _abandon(self, job: _Job) -> None:
        """Leave the queue; if the order to lead came meanwhile, hand it on."""
        with self._lock:
            queue = self._queues[job.bulk]
            if job in queue:
                queue.remove(job)
        if job.promoted:
            self._promote(job.bulk)


class _Job:
    """Work in the queue, and the place for its outcome."""

    __slots__ = (
        "_outcome",
        "_ready",
        "bulk",
        "caller",
        "key",
        "kind",
        "promoted",
        "run",
        "size",
        "submitted",
        "work",
    )

    def __init__(
        self,
        work: Any,
        run: Run,
        size: int,
        caller: Caller,
        kind: Hashable,
        key: Hashable,
        bulk: bool,
    ) -> None:
        self.work, self.run, self.size, self.caller = work, run, size, caller
        self.kind, self.key, self.bulk = kind, key, bulk
        self.promoted, self.submitted = False, monotonic()
        self._ready = threading.Lock()
        self._ready.acquire()
        self._outcome: object = None

    def settle(self, outcome: object) -> None:
        """Wake the waiting thread: with a result, an error, or the order to lead."""
        self._outcome = outcome
        self._ready.release()

    def wait(self) -> object:
        """Sleep until settled.

        Raises:
            DeadlineExceeded: if the deadline comes first.
        """
        deadline = self.caller.deadline
        timeout = -1.0 if deadline is None else max(0.0, deadline - monotonic())
        if not self._ready.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            raise DeadlineExceeded
        return self._outcome

    def is_expired(self) -> bool:
        """Whether the caller waits no more."""
        deadline = self.caller.deadline
        return (deadline is not None and monotonic() >= deadline) or not self.caller.is_wanted()


class _Failure:
    """An error on its way to the thread that it belongs to."""

    __slots__ = ("_errors",)

    def __init__(self, error: Exception) -> None:
        self._errors = [error]

    def take(self) -> Exception:
        """The error, once.

        A raised error refers to its caller's frames, and these to the outcome. If the outcome
        referred back, the frames, and with them the model, would live until garbage is collected.
        """
        return self._errors.pop()


def _unwrap(outcome: object) -> Any:
    """The result, or the error raised."""
    if isinstance(outcome, _Failure):
        raise outcome.take()
    return outcome

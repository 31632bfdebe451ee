"""Processes that answer the shards of one job; their results come back in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mulde.bundle.bundle import open_bundle
from mulde.errors import JobError
from serving.batch.job_state import Tally
from serving.batch.predictor import Heads, JobOptions, Predictor
from serving.batch.questions import Questions

Shard = Questions | Heads
_WAITING = 2
_predictor: Predictor | None = None


@dataclass(frozen=True)
class JobSpec:
    """What every process of a pool needs; see ``Predictor``.

    Attributes:
        digest: of the one bundle that all answer from, see ``open_bundle``.
    """

    bundle: Path
    digest: str
    options: JobOptions
    folder: Path
    answers: Path
    source: Path

    def predictor(self, *, verify: bool = False) -> Predictor:
        """Load the model; ``verify`` as for ``open_bundle``."""
        bundle = open_bundle(self.bundle, verify=verify, digest=self.digest)
        return Predictor(bundle, self.options, self.folder, self.answers, self.source)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def work(
    spec: JobSpec, shards: Iterable[tuple[int, Shard]], workers: int
) -> Iterator[tuple[int, Tally]]:
    """Answer numbered shards; at most a few of them are in memory at a time.

    Args:
        spec: whose bundle has been verified.
        shards: taken as they are needed.
        workers: processes; with 1, this one does the work.

    Yields:
        The number and tally of each shard, in order.

    Raises:
        JobError: if a process is killed, or finds another bundle.
        MuldeError: what the first shard that fails raises.
    """
    if workers > 1:
        yield from _work_together(spec, shards, workers)
        return
    with threadpool_limits(limits=1):
        predictor = spec.predictor()
        for number, shard in shards:
            yield number, predictor(number, shard)


def _work_together(
    spec: JobSpec, shards: Iterable[tuple[int, Shard]], workers: int
) -> Iterator[tuple[int, Tally]]:
    # Not forked: the libraries' threads would not be there in the child.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(spec,))
    waiting: deque[tuple[int, Future[Tally]]] = deque()
    try:
        for number, shard in shards:
            waiting.append((number, pool.submit(_answer, number, shard)))
            if len(waiting) > _WAITING * workers:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    except BrokenProcessPool as error:
        why = "killed for want of memory perhaps, or because the bundle was replaced"
        problem = f"a worker process ended early, {why}; run it again"
        raise JobError(spec.answers, problem) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _next(waiting: deque[tuple[int, Future[Tally]]]) -> tuple[int, Tally]:
    number, future = waiting.popleft()
    return number, future.result()


def _begin(spec: JobSpec) -> None:
    """Prepare a worker process."""
    global _predictor
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threadpool_limits(limits=1)
    _predictor = spec.predictor()


def _end_with_parent() -> None:
    """A worker whose first process was killed would wait for work without end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _answer(number: int, shard: Shard) -> Tally:
    assert _predictor is not None
    return _predictor(number, shard)

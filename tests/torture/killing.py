"""Killing a job again and again, and what must hold afterwards, whatever the job is.

Children are forked from a process that has imported everything but used none of it, so that a job
begins in milliseconds. A child is killed at a random time of its run, or just before one of the
things that it does to files: each of them in turn, so that none is missed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

_DOES_TO_FILES = frozenset(
    {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}
)
_MOST_KILLS_OF_A_RUN = 4


class Job(Protocol):
    """A job that writes into a folder, and what may be seen there."""

    def work(self, folder: Path) -> None:
        """Begin it, or go on with what an earlier process left."""

    def check(self, folder: Path) -> None:
        """Fail if something half-written could be taken for whole; at any time."""

    def result(self, folder: Path) -> Any:
        """What it has made, to compare, without times and dates."""


@dataclass
class Toll:
    """What was done to a job.

    Attributes:
        kills: children that were killed.
        late: children that were done before they could be.
        runs: folders in which it was begun, killed up to four times, and brought to its end.
    """

    kills: int = 0
    late: int = 0
    runs: int = 0


def torture(job: Job, work: Path, kills: int, generator: np.random.Generator) -> Toll:
    """Kill a job in folder after folder, until it has been killed often enough.

    Raises:
        AssertionError: if what is left is unsound, the result another one, or a file left over.
    """
    whole = work / "whole"
    seconds, events = _measure(job, whole)
    result, listing = job.result(whole), _listing(whole)
    toll, moments = Toll(), _moments(generator, seconds, events)
    while toll.kills < kills:
        folder = work / f"run-{toll.runs}"
        folder.mkdir()
        for _ in range(int(generator.integers(1, _MOST_KILLS_OF_A_RUN + 1))):
            killed = _kill(job, folder, *next(moments))
            toll.kills, toll.late = toll.kills + killed, toll.late + (not killed)
            job.check(folder)
        _end(job, folder)
        assert job.result(folder) == result, f"{folder}: another result"
        assert _listing(folder) == listing, f"{folder}: other files"
        toll.runs += 1
    return toll


def _moments(generator: np.random.Generator, seconds: float, events: int) -> Any:
    """Pairs (seconds, event): a random time, and each event in a random order, over and over."""
    while True:
        for event in generator.permutation(events).tolist():
            yield None, event + 1
            yield float(generator.uniform(0, seconds)), None


def _measure(job: Job, folder: Path) -> tuple[float, int]:
    """Seconds and events of a run that nobody kills."""
    folder.mkdir()
    reader, writer = os.pipe()
    started = time.perf_counter()

    def counted() -> None:
        count = 0

        def hook(name: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            count += _concerns(folder, name, arguments)

        sys.addaudithook(hook)
        job.work(folder)
        os.write(writer, str(count).encode())

    _wait(_fork(counted), folder)
    seconds = time.perf_counter() - started
    os.close(writer)
    with os.fdopen(reader) as told:
        return seconds, int(told.read())


def _kill(job: Job, folder: Path, seconds: float | None, event: int | None) -> bool:
    """Run the job in a child and kill it; False if it was done before."""

    def doomed() -> None:
        if event is not None:
            _die_at(folder, event)
        job.work(folder)

    child = _fork(doomed)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return _wait(child, folder)


def _end(job: Job, folder: Path) -> None:
    killed = _wait(_fork(lambda: job.work(folder)), folder)
    assert not killed


def _die_at(folder: Path, event: int) -> None:
    """Have this process killed just before the given one of the things it does to files."""
    count = 0

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if _concerns(folder, name, arguments):
            count += 1
            if count == event:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _concerns(folder: Path, name: str, arguments: tuple[Any, ...]) -> bool:
    if name not in _DOES_TO_FILES or not isinstance(arguments[0], str | bytes | os.PathLike):
        return False
    return os.fsdecode(arguments[0]).startswith(str(folder))


def _fork(work: Callable[[], None]) -> int:
    """Do ``work`` in a child and leave it without a trace; the child's process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    return child


def _wait(child: int, folder: Path) -> bool:
    """Whether a child was killed; anything but that and success is a failure."""
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, f"{folder}: a child ended with status {status}"
    return killed


def _listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

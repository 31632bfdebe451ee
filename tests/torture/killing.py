"""Killing a job again and again, or the disk under it, and what must hold afterwards.

Children are forked from a process that has imported everything but used none of it, so that a job
begins in milliseconds. A child is killed at a random time of its run, or just before one of the
things that it does to files: each of them in turn, so that none is missed. Or it is not allowed to
write, and has to say so.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mulde.errors import MuldeError

_DOES_TO_FILES = frozenset(
    {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}
)
_MOST_KILLS_OF_A_RUN = 4
REFUSED = 3
"""Exit status of a child that could not write and said so."""


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
        kills: children that were killed, or could not write.
        late: children that were done before.
        runs: folders in which it was begun, harmed up to four times, and brought to its end.
    """

    kills: int = 0
    late: int = 0
    runs: int = 0


Harm = Callable[[Job, Path], bool]
"""Does harm to a job that works in a folder; False if the job was done before."""


def torture(
    job: Job, work: Path, count: int, generator: np.random.Generator, kind: str = "kill"
) -> Toll:
    """Harm a job in folder after folder, until that has been done often enough.

    Args:
        job: what is harmed.
        work: an empty folder.
        count: of harms, at least.
        generator: of the moments.
        kind: "kill" it, or let no file grow beyond a random size ("limit"), or have a disk of a
            random size ("disk"; only root may mount one), or let nothing be written into its
            folder, in which it was killed before ("read-only").

    Raises:
        AssertionError: if what is left is unsound, the result another one, or a file left over.
    """
    whole = work / "whole"
    seconds, events = _measure(job, whole)
    result, listing = job.result(whole), _listing(whole)
    sizes = [path.stat().st_size for path in whole.rglob("*") if path.is_file()]
    kills, toll = _moments(generator, seconds, events), Toll()
    while toll.kills < count:
        folder = work / f"run-{toll.runs}"
        folder.mkdir()
        if kind == "disk":
            _mount(folder, "tmpfs")
        if kind == "read-only":
            _kill(job, folder, *next(kills))
        for _ in range(int(generator.integers(1, _MOST_KILLS_OF_A_RUN + 1))):
            if kind == "kill":
                harmed = _kill(job, folder, *next(kills))
            elif kind == "limit":
                harmed = _refuse_growth(job, folder, int(generator.integers(max(sizes))))
            elif kind == "disk":
                harmed = _fill(job, folder, int(generator.integers(1, sum(sizes))))
            else:
                harmed = _refuse_writing(job, folder)
            toll.kills, toll.late = toll.kills + harmed, toll.late + (not harmed)
            job.check(folder)
        _end(job, folder)
        assert job.result(folder) == result, f"{folder}: another result"
        assert _listing(folder) == listing, f"{folder}: other files"
        if kind == "disk":
            subprocess.run(["umount", str(folder)], check=True)
        toll.runs += 1
    return toll


def _moments(generator: np.random.Generator, seconds: float, events: int) -> Any:
    """Pairs (seconds, event): a random time, and each event in a random order, over and over."""
    while True:
        for event in generator.permutation(events).tolist():
            yield None, event + 1
            yield float(generator.uniform(0, seconds)), None


def _measure(job: Job, folder: Path) -> tuple[float, int]:
    """Seconds and events of a run that is not killed."""
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


def _refuse_growth(job: Job, folder: Path, size: int) -> bool:
    """Run the job where no file can grow beyond ``size`` bytes, as on a disk that is full."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        job.work(folder)

    return _wait_for_refusal(_fork(limited), folder)


def _fill(job: Job, folder: Path, size: int) -> bool:
    """Run the job on a disk with room for ``size`` bytes, in whole pages, and what is there."""
    used = subprocess.run(["du", "-s", "-B1", str(folder)], capture_output=True, check=True)
    _mount(folder, f"remount,size={int(used.stdout.split()[0]) + size}")
    refused = _wait_for_refusal(_fork(lambda: job.work(folder)), folder)
    _mount(folder, "remount,size=64m")
    return refused


def _mount(folder: Path, how: str) -> None:
    kind = ["-t", "tmpfs", "tmpfs"] if how == "tmpfs" else ["-o", how]
    subprocess.run(["mount", *kind, str(folder)], check=True)


def _refuse_writing(job: Job, folder: Path) -> bool:
    """Run the job where nothing can be written into its folder, nor into folders within."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]

    def powerless() -> None:
        if os.geteuid() == 0:
            _drop_capabilities()
        job.work(folder)

    for path in folders:
        path.chmod(0o555)
    refused = _wait_for_refusal(_fork(powerless), folder)
    for path in folders:
        path.chmod(0o755)
    return refused


def _drop_capabilities() -> None:
    """Make root a user like any other, for whom modes of files hold (capset(2), version 3)."""
    header, none = struct.pack("<Ii", 0x20080522, 0), bytes(24)
    if ctypes.CDLL(None, use_errno=True).capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _wait_for_refusal(child: int, folder: Path) -> bool:
    """Whether a child ended with an error of ours that says what could not be written."""
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, REFUSED), f"{folder}: a child ended with {code}"
    return code == REFUSED


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
    return str(Path.cwd() / os.fsdecode(arguments[0])).startswith(str(folder))


def _fork(work: Callable[[], None]) -> int:
    """Do ``work`` in a child and leave it without a trace; the child's process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except MuldeError as error:
            print(error, file=sys.stderr)
            os._exit(REFUSED if "cannot be written" in str(error) else 1)
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

"""Trains the tiny Junior in children that are killed; a program for test_loop.py, not a test.

``python -m tests.training.interrupted events GRAPH SHELF OUT`` kills one child at each moment at
which a file has been written or renamed, until one gets through its four epochs.
``python -m tests.training.interrupted epochs GRAPH SHELF OUT SEED`` kills two children some
milliseconds after a random epoch. Both print a line ``FOLDER KILLED`` per child.

Children are forked from a process that has imported torch but never used it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG
from typing import Any

import torch
import torch._dynamo  # an optimiser imports it, which takes a second in each child otherwise

from mulde.graph.graph import Graph, read_folder
from tests.support.runs import HARDEST_TO_RESUME, recipe_of, train
from training.loop import Progress


def fork(work: Callable[[], None]) -> int:
    """Do ``work`` in a child and leave it without a trace; the child's process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def wait(child: int, folder: Path) -> bool:
    """Say how a child ended: True if it was killed; anything but that or success is our own end."""
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status != 0:
        sys.exit(f"a child ended with status {status}")
    print(folder.name, killed, flush=True)
    return killed


def kill_at_event(number: int, graph: Graph, teacher_runs: Path, folder: Path) -> None:
    """Train, but die at the given one of: just before a sync, just after a rename.

    Half of what has not been synced is lost, as it may be when the machine dies too.
    """
    events = 0

    def count(fd: int | None = None) -> None:
        nonlocal events
        events += 1
        if events == number:
            if fd is not None and S_ISREG(os.fstat(fd).st_mode):
                os.truncate(f"/dev/fd/{fd}", os.fstat(fd).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    sync, replace = os.fsync, Path.replace

    def counted_sync(fd: Any) -> None:
        count(fd)
        sync(fd)

    def counted_replace(self: Path, target: Any) -> Path:
        moved = replace(self, target)
        count()
        return moved

    os.fsync = counted_sync
    setattr(Path, "replace", counted_replace)  # noqa: B010 - its type is not ours to match
    recipe = recipe_of(**HARDEST_TO_RESUME, junior_training__epochs=4)
    train(recipe, graph, folder, teacher_runs=teacher_runs)


def die_at_every_event(graph: Graph, teacher_runs: Path, out: Path) -> None:
    for number in range(1, 100):
        folder = out / f"event-{number}"

        def work(number: int = number, folder: Path = folder) -> None:
            kill_at_event(number, graph, teacher_runs, folder)

        if not wait(fork(work), folder):
            return


def die_after_epochs(graph: Graph, teacher_runs: Path, out: Path, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(2):
        folder, epoch = out / f"epoch-{number}", chance.randint(1, 6)
        reader, writer = os.pipe()

        def report(name: str, progress: Progress, writer: int = writer) -> None:
            os.write(writer, b".")
            time.sleep(0.02)

        def work(folder: Path = folder, report: Any = report) -> None:
            train(
                recipe_of(**HARDEST_TO_RESUME),
                graph,
                folder,
                teacher_runs=teacher_runs,
                report=report,
            )

        child = fork(work)
        for _ in range(epoch):
            os.read(reader, 1)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        wait(child, folder)


def main() -> None:
    kind, graph_folder, teacher_runs, out, *rest = sys.argv[1:]
    torch.set_num_threads(1)
    graph = read_folder(graph_folder)
    if kind == "events":
        die_at_every_event(graph, Path(teacher_runs), Path(out))
    else:
        die_after_epochs(graph, Path(teacher_runs), Path(out), int(rest[0]))


if __name__ == "__main__":
    main()

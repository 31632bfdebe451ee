"""What processes hold, as the system counts it, and real limits on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import ROOT, environment

MIB = 1 << 20

_CONTROLLERS = Path("/sys/fs/cgroup")


def private_bytes(pid: int) -> int:
    """Memory that is a process's own: neither mapped from a file nor shared.

    Pages of a mapped file belong to the file. They are counted as private as long as only one
    process has them, but another would share them, and the system takes them back when it must.
    """
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    found = re.search(r"^Anonymous:\s+(\d+) kB", rollup, re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


def peak_bytes(pid: int, seconds: float, every_s: float) -> int:
    """The most private memory of a process while some seconds pass."""
    peak, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        peak = max(peak, private_bytes(pid))
        time.sleep(every_s)
    return peak


def floor_bytes() -> int:
    """Private memory of the process that serves, without a model."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.modelless"],
        env=environment(), capture_output=True, text=True, timeout=60, cwd=ROOT, check=True,
    )  # fmt: skip
    return int(run.stdout)


def mapped(pid: int, folder: Path) -> dict[str, dict[str, int]]:
    """For each file of a folder that a process maps, its counts in bytes: Rss, Pss, and so on."""
    files: dict[str, dict[str, int]] = {}
    current: dict[str, int] | None = None
    for line in Path(f"/proc/{pid}/smaps").read_text("utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            path = line.split(maxsplit=5)[5:]
            inside = bool(path) and path[0].startswith(f"{folder}/")
            current = files.setdefault(Path(path[0]).name, {}) if inside else None
        elif current is not None and line.endswith(" kB"):
            name, size, _ = line.split()
            current[name.rstrip(":")] = current.get(name.rstrip(":"), 0) + (int(size) << 10)
    return files


class Group:
    """A control group with a limit on memory.

    Pages of files count where they were read first, so those that are in the cache already,
    as libraries are, do not count here; what a process writes and maps anonymously does.
    """

    def __init__(self, folder: Path, peak: str) -> None:
        self._folder, self._peak = folder, peak

    def enter(self) -> None:
        """Put the calling process in; meant to run between fork and exec."""
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def peak_bytes(self) -> int:
        return int((self._folder / self._peak).read_text("ascii"))


@contextmanager
def limited(limit_bytes: int) -> Iterator[Group | None]:
    """A group with a limit, swap included; None where this process may not make one."""
    made = _make(limit_bytes)
    try:
        yield made[1] if made else None
    finally:
        if made:
            made[0].rmdir()


def _make(limit_bytes: int) -> tuple[Path, Group] | None:
    for parent, limit, swap, peak in _parents():
        folder = parent / f"mulde-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / limit).write_text(str(limit_bytes))
            if (folder / swap).exists():
                (folder / swap).write_text("0" if swap.endswith("swap.max") else str(limit_bytes))
        except OSError:
            folder.rmdir()
            continue
        return folder, Group(folder, peak)
    return None


def _parents() -> Iterator[tuple[Path, str, str, str]]:
    """Groups of this process: folder, and the names of limit, limit with swap, and peak."""
    for line in Path("/proc/self/cgroup").read_text("ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            first = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
            yield _CONTROLLERS / "memory" / path.lstrip("/"), *first, "memory.max_usage_in_bytes"
        elif not controllers:
            yield _CONTROLLERS / path.lstrip("/"), "memory.max", "memory.swap.max", "memory.peak"

"""How much of the processor others took while something was measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)
"""Places of idle and waiting in a line of /proc/stat."""
_GUESTS = 8
"""Place of the first that counts twice."""


class Others:
    """Everybody but some processes, since it was made. Linux alone tells."""

    def __init__(self, pids: Sequence[int]) -> None:
        """Begin to watch.

        Args:
            pids: of the processes that are no others.
        """
        self._pids = pids
        self._start = perf_counter(), self._seconds()

    def cores(self) -> float:
        """How many cores others kept busy, on average; what the host took away counts too."""
        begin, seconds = self._start
        return max(0.0, self._seconds() - seconds) / (perf_counter() - begin)

    def _seconds(self) -> float:
        """Processor time of all, less that of one's own."""
        fields = Path("/proc/stat").read_text("ascii").splitlines()[0].split()[1:]
        busy = sum(int(f) for n, f in enumerate(fields[:_GUESTS]) if n not in _IDLE)
        return (busy - sum(map(_ticks, self._pids))) / _TICKS


def _ticks(pid: int) -> int:
    """Processor time of a process, in and out of the kernel, its finished threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])

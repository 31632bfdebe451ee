"""Everything at once for a long time: all calls, swaps, cancellations, deadlines, killed workers.

Several threads ask questions whose answers are known, alone and in bursts, over connections that
come and go. Meanwhile one thread changes the version again and again, one kills a worker, and one
looks at memory and descriptors. ``Ledger`` says of each call whether it ended as it may.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import numpy as np

from mulde.client import Client, Connection
from mulde.errors import MuldeError, UnknownModel
from tests.support.memory import MIB, private_bytes
from tests.support.server import ServerProcess, eventually, method_of_bytes
from tests.torture.ledger import Asked, CurrentVersion, Disturbances, Fate, Ledger
from tests.torture.questions import Question
from tests.torture.siege import descriptors, memory_bytes

Random = np.random.Generator

_PATIENCE_S = 60.0
_MOST_PATIENCE_S = 600.0
"""For what may wait until everything that stood still goes on."""
_SETTLING_S = 3.0
_TICK_S = 0.1
_STOOD_STILL_S = 1.0
_FATES: tuple[Fate, ...] = ("kept", "cancelled", "hurried")


class Threads:
    """Threads that do something again and again until the end; an error in one ends the block."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def add(self, step: Callable[[], None], pause_s: float = 0.0) -> None:
        """Repeat a step, with a pause before each."""
        self._threads.append(threading.Thread(target=self._run, args=(step, pause_s)))

    def _run(self, step: Callable[[], None], pause_s: float) -> None:
        try:
            while not self.over.wait(pause_s):
                step()
        except BaseException as error:
            self._errors.append(error)
            self.over.set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


class Caller:
    """Asks, and waits for every answer before the next burst."""

    numbers = itertools.count()

    def __init__(
        self,
        target: Connection,
        asked: Sequence[Question],
        ledger: Ledger,
        current: CurrentVersion,
        random: Random,
    ) -> None:
        self._address, self._token = target.address, f"Bearer {target.token}"
        self._questions, self._ledger, self._current = asked, ledger, current
        self._random = random

    def step(self) -> None:
        """Some bursts over a connection of its own, so that the kernel may pick any worker."""
        options = [("grpc.use_local_subchannel_pool", 1), ("mulde.caller", next(self.numbers))]
        with grpc.insecure_channel(self._address, options) as channel:
            for _ in range(int(self._random.integers(1, 30))):
                size = int(self._random.choice([1, 1, 1, 1, 3, 12]))
                for asked, call in [self._send(channel) for _ in range(size)]:
                    self._ledger.settle(asked, call)

    def _send(self, channel: grpc.Channel) -> tuple[Asked, grpc.Future[bytes]]:
        number = int(self._random.integers(len(self._questions)))
        fate = _FATES[int(self._random.choice(3, p=[0.8, 0.1, 0.1]))]
        name, (version, changes) = f"call-{next(self.numbers)}", self._current.state
        question = self._questions[number]
        asked = Asked(question, number, fate, name, time.monotonic(), version, changes)
        hurry = float(self._random.uniform(2e-4, 2e-2))
        call = method_of_bytes(channel, question.path).future(
            question.request,
            timeout=hurry if fate == "hurried" else _PATIENCE_S,
            metadata=(
                ("x-request-id", name),
                ("authorization", self._token),
            ),
        )
        if fate == "cancelled":
            time.sleep(hurry / 4)
            call.cancel()
        return asked, call


class Swapper:
    """Changes between versions 1 and 2: by ReloadModel to the newer, by LoadModel to the older."""

    def __init__(self, target: Connection, root: Path, current: CurrentVersion) -> None:
        """Begin with version 1 loaded, and 2 beside the repository.

        Args:
            target: where, as an administrator.
            root: holds ``repository/toy/1`` and ``2``.
            current: is told.
        """
        self._connection = target
        self._hidden, self._shown = root / "2", root / "repository/toy/2"
        self._current = current
        self.swaps = 0

    def step(self) -> None:
        """There or back."""
        if self._current.state[0] == "1":
            self._hidden.rename(self._shown)
            with self._current.changing("2"):
                self._insist(lambda client: client.reload_model("toy"))
        else:
            with self._current.changing("1"):
                self._insist(lambda client: client.load_model("toy", "1"))
                with suppress(UnknownModel):  # the call before was answered, but not heard
                    self._insist(lambda client: client.unload_model("toy", "2"))
            self._shown.rename(self._hidden)
        self.swaps += 1

    def _insist(self, change: Callable[[Client], object]) -> None:
        """Again, where the worker that was asked is killed meanwhile."""
        end = time.monotonic() + _MOST_PATIENCE_S
        while True:
            try:
                with Client(self._connection) as client:
                    change(client)
            except UnknownModel:
                raise
            except MuldeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return


class Killer:
    """Kills a worker or freezes it, in turn; but never the first, in which growth shows."""

    def __init__(self, served: ServerProcess, disturbances: Disturbances) -> None:
        self._served, self._disturbances = served, disturbances
        self.veteran, *_ = served.children()
        self.kills = 0

    def step(self) -> None:
        """Kill or freeze, and wait until another has taken its place."""
        victim = next(pid for pid in self._served.children() if pid != self.veteran)
        with self._disturbances.one(_SETTLING_S):
            os.kill(victim, (signal.SIGKILL, signal.SIGSTOP)[self.kills % 2])
            self.kills += 1
            eventually(lambda: self._replaced() == self.kills, timeout=_MOST_PATIENCE_S)

    def _replaced(self) -> int:
        return self._served.raw_log.count('"worker replaced"')


@dataclass
class Watch:
    """Looks at the supervisor and the first worker; and notices when everything stood still.

    Attributes:
        pids: of those two.
        private: [S][2] private memory, MiB, of each sample.
        resident_mib: all processes together, the highest.
        descriptors: [S][2].
        seconds: that were watched, without those in which everything stood still.
    """

    served: ServerProcess
    pids: tuple[int, ...]
    pauses: Disturbances
    private: list[list[float]] = field(default_factory=list)
    descriptors: list[list[int]] = field(default_factory=list)
    resident_mib: float = 0.0
    seconds: float = 0.0
    _ticks: int = 0

    def step(self) -> None:
        """Wait a little; once a second take a sample."""
        before = time.monotonic()
        time.sleep(_TICK_S)
        passed = time.monotonic() - before
        if passed > _TICK_S + _STOOD_STILL_S:
            self.pauses.add(before, before + passed + _SETTLING_S)
        else:
            self.seconds += passed
        self._ticks += 1
        if self._ticks % 10 == 0:
            self.sample()

    def sample(self) -> None:
        """Once."""
        self.private.append([private_bytes(pid) / MIB for pid in self.pids])
        self.descriptors.append([descriptors(pid) for pid in self.pids])
        with suppress(OSError):  # a worker was killed meanwhile
            everyone = [self.served.process.pid, *self.served.children()]
            total = sum(map(memory_bytes, everyone)) / MIB
            self.resident_mib = max(self.resident_mib, total)

    def grown_mib(self) -> float:
        """How far private memory rose: median of the last tenth over that of the second tenth."""
        tenth = max(1, len(self.private) // 10)
        samples = np.array(self.private)
        first, last = samples[tenth : 2 * tenth], samples[-tenth:]
        return float((np.median(last, axis=0) - np.median(first, axis=0)).max())

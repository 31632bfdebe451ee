"""What became of every call of a soak, and whether it may have."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import grpc

from tests.torture.questions import Question

Fate = Literal["kept", "cancelled", "hurried"]
"""Waited for; taken back by its caller; given less time than it may need."""

_MOST_KEPT = 20
_SLOW_TO_TELL_S = 0.5
_OK, _NO_ROOM = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED
_BROKEN, _LATE = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
_ENDS: dict[Fate, set[grpc.StatusCode]] = {
    "kept": {_OK, _NO_ROOM},
    "cancelled": {_OK, _NO_ROOM, grpc.StatusCode.CANCELLED},
    "hurried": {_OK, _NO_ROOM, _LATE},
}


@dataclass(frozen=True)
class Asked:
    """A call that was sent.

    Attributes:
        question: what it asked.
        number: its place in ``questions``.
        fate: what its caller meant to do.
        id: request id that was sent along.
        sent: ``time.monotonic`` then.
        version: that all workers had then; "" while it changed.
        changes: of version, so far.
    """

    question: Question
    number: int
    fate: Fate
    id: str
    sent: float
    version: str
    changes: int


class CurrentVersion:
    """The version that all workers serve, while they change and after. Threads may share it."""

    def __init__(self, version: str) -> None:
        self.state = version, 0

    @contextmanager
    def changing(self, version: str) -> Iterator[None]:
        """While all workers go over to another version."""
        changes = self.state[1] + 1
        self.state = "", changes
        yield
        self.state = version, changes


class Disturbances:
    """When connections may have broken: a worker was killed, or everything stood still."""

    def __init__(self) -> None:
        self._times: list[tuple[float, float]] = []

    @contextmanager
    def one(self, more_s: float) -> Iterator[None]:
        """During the block and for a while after it."""
        place = len(self._times)
        start = time.monotonic()
        self._times.append((start, float("inf")))
        yield
        self._times[place] = start, time.monotonic() + more_s

    def add(self, start: float, end: float) -> None:
        """One that is over."""
        self._times.append((start, end))

    def touch(self, start: float, end: float) -> bool:
        """Whether one falls into that time."""
        return any(start <= one[1] and end >= one[0] for one in self._times)


class Ledger:
    """Counts how calls ended, and keeps those that should not have ended so."""

    def __init__(
        self, truth: Mapping[str, list[bytes]], current: CurrentVersion, kills: Disturbances
    ) -> None:
        """Begin empty.

        Args:
            truth: version -> answer to each question.
            current: which version there should be.
            kills: when a connection may break.
        """
        self._truth, self._current, self._kills = truth, current, kills
        self.pauses = Disturbances()
        self._lock = threading.Lock()
        self.ends: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.wrong: list[str] = []

    @property
    def calls(self) -> int:
        """That have ended."""
        return sum(self.ends.values())

    def settle(self, asked: Asked, call: grpc.Future[bytes]) -> None:
        """Take down how a call ended; waits until it has."""
        code = call.code()  # type: ignore[attr-defined]  # a call is a future and more
        fault = self._fault(asked, code, call)
        with self._lock:
            self.ends[code.name] += 1
            if fault and len(self.wrong) < _MOST_KEPT:
                self.wrong.append(f"{asked.question.path} {asked.fate} {code.name}: {fault}")

    def _fault(self, asked: Asked, code: grpc.StatusCode, call: grpc.Future[bytes]) -> str:
        if code is _OK:
            return self._fault_of_answer(asked, call)
        if code in _ENDS[asked.fate]:
            return ""
        now = time.monotonic()
        time.sleep(_SLOW_TO_TELL_S)
        if code is _BROKEN and self._kills.touch(asked.sent, now):
            return ""
        if code in (_BROKEN, _LATE) and self.pauses.touch(asked.sent, now):
            return ""
        return f"lost: {call.details()}"  # type: ignore[attr-defined]

    def _fault_of_answer(self, asked: Asked, call: grpc.Future[bytes]) -> str:
        ids = [value for key, value in call.trailing_metadata() if key == "x-request-id"]  # type: ignore[attr-defined]
        if ids != [asked.id]:
            return f"the answer to {ids}, asked was {asked.id}"
        version, answer = asked.question.read(call.result())
        with self._lock:
            self.versions[version] += 1
        is_sure = asked.version and self._current.state == (asked.version, asked.changes)
        if is_sure and version != asked.version:
            return f"answered by {version} when all had {asked.version}"
        if version not in self._truth:
            return f"by version {version!r}, which there is not"
        if answer != self._truth[version][asked.number]:
            return f"not what {version} answers"
        return ""

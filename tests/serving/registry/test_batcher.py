"""Each request gets exactly one outcome, and none waits for more than one chunk of another."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import pytest

from mulde.errors import DeadlineExceeded
from serving.registry.batcher import Batcher
from tests.support.server import eventually


@dataclass
class Waiting:
    """A caller that waits until its deadline, or has left."""

    deadline: float | None = None
    wanted: bool = True

    def is_wanted(self) -> bool:
        return self.wanted

    def enter_bulk(self) -> None:
        """Any number of large requests is admitted."""


PATIENT = Waiting()


class Doubler:
    """Doubles ranges of numbers, in runs that can be held up."""

    def __init__(self) -> None:
        self.runs: list[list[range]] = []
        self.open = threading.Event()
        self.open.set()
        self.started = threading.Semaphore(0)
        self.second_per_number = 0.0

    def run(self, work: Sequence[range]) -> list[list[int]]:
        self.runs.append(list(work))
        self.started.release()
        self.open.wait()
        time.sleep(self.second_per_number * sum(map(len, work)))
        if any(part.start < 0 for part in work):
            raise ValueError("negative")
        return [[2 * number for number in part] for part in work]


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


@pytest.fixture
def batcher() -> Batcher:
    """In chunks so long that only the largest batch bounds a run."""
    return Batcher(chunk_s=60.0)


Submit = Callable[..., list[int]]


@pytest.fixture
def submit(batcher: Batcher, doubler: Doubler) -> Submit:
    return submit_to(batcher, doubler)


def submit_to(batcher: Batcher, doubler: Doubler) -> Submit:
    """Double the numbers from ``first`` on, as one request."""

    def submit(
        first: int, size: int = 1, caller: Waiting = PATIENT, key: Hashable = "shared"
    ) -> list[int]:
        chunks = batcher.run(
            lambda start, stop: range(first + start, first + stop),
            doubler.run,
            size,
            caller,
            kind="double",
            key=key,
        )
        return [number for chunk in chunks for number in chunk]

    return submit


class Caller(threading.Thread):
    """Calls in a thread of its own and keeps the outcome."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.outcome: object = None
        self._call = call
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._call()
        except Exception as error:
            self.outcome = error


def hold(doubler: Doubler, submit: Submit) -> Caller:
    """Keep a run going, so that requests that come next have to wait."""
    doubler.open.clear()
    caller = Caller(lambda: submit(0))
    doubler.started.acquire()
    return caller


def release(doubler: Doubler, *callers: threading.Thread) -> None:
    doubler.open.set()
    for caller in callers:
        caller.join(10)


def test_a_single_request_runs_at_once(doubler: Doubler, submit: Submit) -> None:
    assert submit(21) == [42]
    assert doubler.runs == [[range(21, 22)]]


def test_requests_that_wait_share_the_next_run(
    batcher: Batcher, doubler: Doubler, submit: Submit
) -> None:
    first = hold(doubler, submit)
    callers = [Caller(lambda n=n: submit(n)) for n in (1, 2, 3)]  # type: ignore[misc]
    eventually(lambda: batcher.waiting == 3)
    release(doubler, first, *callers)
    assert [caller.outcome for caller in callers] == [[2], [4], [6]]
    assert [len(run) for run in doubler.runs] == [1, 3]


def test_requests_of_other_keys_run_apart(
    batcher: Batcher, doubler: Doubler, submit: Submit
) -> None:
    first = hold(doubler, submit)
    callers = [Caller(lambda n=n: submit(n, key=n % 2)) for n in range(1, 7)]  # type: ignore[misc]
    unshared = [Caller(lambda n=n: submit(n, key=None)) for n in (10, 20)]  # type: ignore[misc]
    eventually(lambda: batcher.waiting == 8)
    release(doubler, first, *callers, *unshared)
    runs = [sorted(part.start for part in run) for run in doubler.runs[1:]]
    assert sorted(runs) == [[1, 3, 5], [2, 4, 6], [10], [20]]


def test_a_bad_request_fails_alone(batcher: Batcher, doubler: Doubler, submit: Submit) -> None:
    first = hold(doubler, submit)
    callers = [Caller(lambda n=n: submit(n)) for n in (1, -1, 2)]  # type: ignore[misc]
    eventually(lambda: batcher.waiting == 3)
    release(doubler, first, *callers)
    outcomes = [caller.outcome for caller in callers]
    assert outcomes[0] == [2]
    assert isinstance(outcomes[1], ValueError)
    assert outcomes[2] == [4]


def test_a_failure_refers_to_nothing_of_its_caller(
    batcher: Batcher, doubler: Doubler, submit: Submit
) -> None:
    """What a caller holds is freed with it, such as the version of a model that is swapped.

    A cycle of references would keep it until the garbage collector runs, which it seldom does.
    """
    kept: list[weakref.ref[Doubler]] = []

    def call(number: int) -> None:
        mine = Doubler()
        kept.append(weakref.ref(mine))
        with contextlib.suppress(ValueError):
            submit(number)

    gc.disable()
    try:
        first = hold(doubler, submit)
        callers = [threading.Thread(target=call, args=(number,)) for number in (-1, -2, -3)]
        for caller in callers:
            caller.start()
        eventually(lambda: batcher.waiting == 3)
        release(doubler, first, *callers)
        assert [reference() for reference in kept] == [None] * 3
    finally:
        gc.enable()


def test_a_deadline_in_the_queue_is_kept_and_the_work_dropped(
    batcher: Batcher, doubler: Doubler, submit: Submit
) -> None:
    first = hold(doubler, submit)
    late = Caller(lambda: submit(1, caller=Waiting(time.monotonic() + 0.05)))
    patient = Caller(lambda: submit(2))
    late.join(5)
    assert isinstance(late.outcome, DeadlineExceeded)
    eventually(lambda: batcher.waiting == 1)
    release(doubler, first, patient)
    assert patient.outcome == [4]
    assert range(1, 2) not in [part for run in doubler.runs for part in run]


def test_work_of_a_caller_that_left_is_not_done(
    batcher: Batcher, doubler: Doubler, submit: Submit
) -> None:
    first = hold(doubler, submit)
    gone = Caller(lambda: submit(1, caller=Waiting(wanted=False)))
    stays = Caller(lambda: submit(2))
    eventually(lambda: batcher.waiting == 2)
    release(doubler, first, gone, stays)
    assert isinstance(gone.outcome, DeadlineExceeded)
    assert stays.outcome == [4]
    assert range(1, 2) not in [part for run in doubler.runs for part in run]


def test_a_large_request_runs_in_chunks_that_follow_its_speed(doubler: Doubler) -> None:
    doubler.second_per_number = 0.0005
    batcher = Batcher(chunk_s=0.01)
    chunks = list(batcher.run(range, doubler.run, 200, PATIENT, kind="double"))
    assert [number for chunk in chunks for number in chunk] == [2 * n for n in range(200)]
    sizes = [len(run[0]) for run in doubler.runs]
    assert max(sizes) <= 40
    assert 10 <= sorted(sizes)[len(sizes) // 2] <= 25


def test_no_chunk_is_larger_than_the_largest_batch(doubler: Doubler) -> None:
    batcher = Batcher(chunk_s=10.0, max_batch=16)
    list(batcher.run(range, doubler.run, 100, PATIENT, kind="double"))
    assert max(len(run[0]) for run in doubler.runs) <= 16
    assert len(doubler.runs) == 7


def test_a_request_a_little_larger_than_a_chunk_runs_in_equal_parts(doubler: Doubler) -> None:
    batcher = Batcher(chunk_s=10.0, max_batch=16)
    chunks = batcher.run(range, doubler.run, 17, PATIENT, kind="double")
    assert len(next(chunks)) == 9


def test_a_small_request_waits_for_one_chunk_of_many_large_ones(doubler: Doubler) -> None:
    """Eight large requests; the small one runs after the chunk that runs when it arrives."""
    doubler.second_per_number = 0.0005
    batcher = Batcher(chunk_s=0.01)

    def large(first: int) -> object:
        chunks = batcher.run(
            lambda start, stop: range(first + start, first + stop),
            doubler.run,
            400,
            PATIENT,
            kind="double",
        )
        return list(chunks)

    callers = [Caller(lambda n=n: large(1000 * n)) for n in range(1, 9)]  # type: ignore[misc]
    places = []
    for number in range(20):
        time.sleep(0.01)
        before = len(doubler.runs)
        (chunk,) = batcher.run(range, doubler.run, 1, PATIENT, kind="double")
        assert chunk == [0], number
        places.append(doubler.runs.index([range(1)], before) - before)
    for caller in callers:
        caller.join(30)
    assert max(places) <= 1


def test_large_requests_advance_at_equal_pace(doubler: Doubler) -> None:
    doubler.second_per_number = 0.0002
    batcher = Batcher(chunk_s=0.005)
    done: list[int] = []

    def large(first: int) -> list[int]:
        for _ in batcher.run(
            lambda start, stop: range(first + start, first + stop),
            doubler.run,
            300,
            PATIENT,
            kind="double",
        ):
            done.append(first)
        return []

    first = hold(doubler, lambda n: large(-1) if n < 0 else large(0))
    callers = [Caller(lambda n=n: large(1000 * n)) for n in (1, 2, 3)]  # type: ignore[misc]
    eventually(lambda: batcher.waiting == 3)
    release(doubler, first, *callers)
    shares = [done[: len(done) // 2].count(first) for first in (0, 1000, 2000, 3000)]
    assert max(shares) - min(shares) <= 2


def test_hundreds_of_callers_each_get_their_own_answer(doubler: Doubler) -> None:
    """Failures, deadlines, departures, keys and sizes all mixed; each outcome is the caller's."""
    doubler.second_per_number = 1e-5
    batcher = Batcher(chunk_s=0.0001)
    submit = submit_to(batcher, doubler)
    outcomes: dict[int, object] = {}

    def call(number: int) -> None:
        deadline = time.monotonic() + 0.002 * (number % 5) if number % 3 == 0 else None
        caller = Waiting(deadline, wanted=number % 7 != 0)
        first = -number if number % 17 == 0 else number
        try:
            outcomes[number] = submit(first, 1 + number % 30, caller, number % 2)
        except (ValueError, DeadlineExceeded) as error:
            outcomes[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(1, 601)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 600
    counts: Counter[str] = Counter()
    for number, outcome in outcomes.items():
        counts[type(outcome).__name__] += 1
        if isinstance(outcome, DeadlineExceeded):
            assert number % 3 == 0 or number % 7 == 0
        elif isinstance(outcome, ValueError):
            assert number % 17 == 0
        else:
            assert outcome == [2 * (number + more) for more in range(1 + number % 30)]
            assert number % 17
    assert set(counts) == {"list", "ValueError", "DeadlineExceeded"}
    assert batcher.waiting == 0
    assert submit(1) == [2]  # no thread was left in the lead

"""Each waiter gets exactly one outcome, whatever becomes of its batch-mates."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from mulde.errors import DeadlineExceeded, Overloaded
from serving.registry.batcher import Batcher
from tests.support.server import eventually


class Kitchen:
    """Doubles numbers, in batches, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.started = threading.Semaphore(0)

    def cook(self, work: Sequence[int]) -> list[int]:
        self.batches.append(list(work))
        self.started.release()
        self.open.wait()
        if any(number < 0 for number in work):
            raise ValueError("negative")
        return [2 * number for number in work]


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


class Caller(threading.Thread):
    """Submits in a thread of its own and keeps the outcome."""

    def __init__(self, submit: Callable[[], int]) -> None:
        super().__init__()
        self.outcome: object = None
        self._submit = submit
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._submit()
        except Exception as error:
            self.outcome = error


def hold(kitchen: Kitchen, batcher: Batcher[int, int], number: int = 0) -> Caller:
    """Keep the kitchen busy, so that whoever comes next has to wait."""
    kitchen.open.clear()
    caller = Caller(lambda: batcher.submit(number))
    kitchen.started.acquire()
    return caller


def test_a_lone_caller_runs_at_once(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook)
    assert batcher.submit(21) == 42
    assert kitchen.batches == [[21]]


def test_callers_that_wait_share_the_next_run(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook)
    first = hold(kitchen, batcher)
    callers = [Caller(lambda n=n: batcher.submit(n)) for n in (1, 2, 3)]
    eventually(lambda: batcher.waiting == 3)
    kitchen.open.set()
    for caller in (first, *callers):
        caller.join()
    assert [caller.outcome for caller in callers] == [2, 4, 6]
    assert len(kitchen.batches) == 2
    assert sorted(kitchen.batches[1]) == [1, 2, 3]


def test_a_batch_holds_no_more_than_fit(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook, max_batch=4)
    first = hold(kitchen, batcher)
    callers = [Caller(lambda n=n: batcher.submit(n, size=2)) for n in range(1, 6)]
    eventually(lambda: batcher.waiting == 10)
    kitchen.open.set()
    for caller in (first, *callers):
        caller.join()
    assert [len(batch) for batch in kitchen.batches] == [1, 2, 2, 1]


def test_work_of_other_keys_runs_apart(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook)
    first = hold(kitchen, batcher)
    callers = [Caller(lambda n=n: batcher.submit(n, key=n % 2)) for n in range(1, 7)]
    eventually(lambda: batcher.waiting == 6)
    kitchen.open.set()
    for caller in (first, *callers):
        caller.join()
    assert sorted(map(sorted, kitchen.batches[1:])) == [[1, 3, 5], [2, 4, 6]]


def test_a_bad_job_fails_alone(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook)
    first = hold(kitchen, batcher)
    callers = [Caller(lambda n=n: batcher.submit(n)) for n in (1, -1, 2)]
    eventually(lambda: batcher.waiting == 3)
    kitchen.open.set()
    for caller in (first, *callers):
        caller.join()
    outcomes = [caller.outcome for caller in callers]
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], ValueError)
    assert outcomes[2] == 4


def test_a_failure_holds_on_to_nothing_of_its_caller(kitchen: Kitchen) -> None:
    """What a caller holds goes with it, such as the version of a model that is swapped meanwhile.

    A ring of references would keep it until the garbage collector looks, which it seldom does.
    """
    batcher = Batcher(kitchen.cook)
    kept: list[weakref.ref[Kitchen]] = []

    def submit(number: int) -> int:
        mine = Kitchen()
        kept.append(weakref.ref(mine))
        return batcher.submit(number)

    def call(number: int) -> None:
        with contextlib.suppress(ValueError):
            submit(number)

    gc.disable()
    try:
        first = hold(kitchen, batcher)
        callers = [threading.Thread(target=call, args=(number,)) for number in (-1, -2, -3)]
        for caller in callers:
            caller.start()
        eventually(lambda: batcher.waiting == 3)
        kitchen.open.set()
        for caller in (first, *callers):
            caller.join()
        assert [reference() for reference in kept] == [None] * 3
    finally:
        gc.enable()


def test_a_deadline_in_the_queue_is_kept_and_the_work_dropped(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook)
    first = hold(kitchen, batcher)
    late = Caller(lambda: batcher.submit(1, deadline=time.monotonic() + 0.05))
    patient = Caller(lambda: batcher.submit(2))
    late.join(5)
    assert isinstance(late.outcome, DeadlineExceeded)
    assert batcher.waiting == 1
    kitchen.open.set()
    for caller in (first, patient):
        caller.join()
    assert patient.outcome == 4
    assert 1 not in [number for batch in kitchen.batches for number in batch]


def test_a_caller_that_left_is_not_worked_for(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook)
    first = hold(kitchen, batcher)
    gone = Caller(lambda: batcher.submit(1, wanted=lambda: False))
    stays = Caller(lambda: batcher.submit(2))
    eventually(lambda: batcher.waiting == 2)
    kitchen.open.set()
    for caller in (first, gone, stays):
        caller.join()
    assert isinstance(gone.outcome, DeadlineExceeded)
    assert stays.outcome == 4
    assert 1 not in [number for batch in kitchen.batches for number in batch]


def test_a_full_queue_refuses_at_once(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook, max_waiting=3)
    first = hold(kitchen, batcher)
    waiting = Caller(lambda: batcher.submit(1, size=2))
    eventually(lambda: batcher.waiting == 2)
    with pytest.raises(Overloaded, match="3 waiting queries"):
        batcher.submit(2, size=2)
    fits = Caller(lambda: batcher.submit(3))
    eventually(lambda: batcher.waiting == 3)
    kitchen.open.set()
    for caller in (first, waiting, fits):
        caller.join()
    assert (waiting.outcome, fits.outcome) == (2, 6)


def test_a_job_larger_than_the_queue_is_taken_when_it_is_empty(kitchen: Kitchen) -> None:
    assert Batcher(kitchen.cook, max_waiting=3, max_batch=2).submit(5, size=100) == 10


def test_a_delay_lets_a_batch_fill(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook, max_batch=3, max_delay_s=10.0)
    callers = [Caller(lambda n=n: batcher.submit(n)) for n in (1, 2, 3)]
    for caller in callers:
        caller.join(5)
    assert [caller.outcome for caller in callers] == [2, 4, 6]
    assert len(kitchen.batches) == 1


def test_a_delay_ends(kitchen: Kitchen) -> None:
    batcher = Batcher(kitchen.cook, max_batch=100, max_delay_s=0.05)
    start = time.monotonic()
    assert batcher.submit(1) == 2
    assert 0.04 < time.monotonic() - start < 2


def test_hundreds_of_callers_each_get_their_own_answer() -> None:
    """Failures, deadlines, departures and keys all mixed; every outcome is the caller's own."""
    ran: Counter[int] = Counter()

    def run(work: Sequence[int]) -> list[int]:
        ran.update(work)
        time.sleep(0.0005)
        if any(number % 17 == 0 for number in work):
            raise ValueError
        return [2 * number for number in work]

    batcher = Batcher(run, max_batch=16, max_waiting=10_000)
    outcomes: dict[int, object] = {}

    def call(number: int) -> None:
        deadline = time.monotonic() + 0.002 * (number % 5) if number % 3 == 0 else None
        try:
            outcomes[number] = batcher.submit(
                number, key=number % 2, deadline=deadline, wanted=lambda: number % 7 != 0
            )
        except (ValueError, DeadlineExceeded) as error:
            outcomes[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(600)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 600
    for number, outcome in outcomes.items():
        if isinstance(outcome, DeadlineExceeded):
            assert number % 3 == 0 or number % 7 == 0
        elif isinstance(outcome, ValueError):
            assert number % 17 == 0
        else:
            assert outcome == 2 * number
            assert number % 17
    assert batcher.waiting == 0
    assert batcher.submit(1) == 2  # nobody was left in the lead

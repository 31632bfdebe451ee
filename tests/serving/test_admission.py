"""How many calls are let in, and how many answers may be on their way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mulde.errors import Overloaded
from serving.process.admission import ALWAYS, Room
from serving.rpc.response_budget import Outbox

SLOW, QUICK = "slow", "quick"


class Clock:
    """Stands still unless it is told to go on."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def serve(room: Room, clock: Clock, method: str, seconds: float, calls: int = 1000) -> None:
    """Calls one after the other, each of so many seconds, until the pace is known."""
    for _ in range(calls):
        room.enter(method)
        clock.now_s += seconds
        room.leave(method)


def let_in(room: Room, method: str, most: int) -> int:
    """Calls that enter before one is refused."""
    for count in range(most):
        try:
            room.enter(method)
        except Overloaded:
            return count
    return most


@pytest.mark.parametrize(("seconds", "calls"), [(0.001, 50), (0.002, 25), (1.0, ALWAYS)])
def test_as_many_enter_as_are_answered_in_time_but_always_some(seconds: float, calls: int) -> None:
    clock = Clock()
    room = Room(64, max_wait_s=0.05, clock=clock)
    serve(room, clock, SLOW, seconds)
    assert let_in(room, SLOW, 64) == pytest.approx(calls, abs=1)


def test_slow_calls_of_one_method_keep_no_quick_ones_out() -> None:
    clock = Clock()
    room = Room(64, max_wait_s=0.05, clock=clock)
    serve(room, clock, SLOW, 1.0)
    serve(room, clock, QUICK, 0.0001)
    assert let_in(room, SLOW, 64) == ALWAYS
    assert room.is_full(SLOW)
    assert not room.is_full(QUICK)
    assert let_in(room, QUICK, 64) == 64 - ALWAYS


class Caller:
    """A call's context: records whether it was cut off, and ends when it is told to."""

    def __init__(self) -> None:
        self.is_cut_off = False
        self.end: Callable[[], None] | None = None

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self.end = callback
        return True

    def cancel(self) -> None:
        self.is_cut_off = True


def put(outbox: Outbox, *sizes: int) -> list[Caller]:
    callers = [Caller() for _ in sizes]
    for size, caller in zip(sizes, callers, strict=True):
        outbox.put(size, caller)  # type: ignore[arg-type]  # the part of a context that is used
    return callers


def test_the_oldest_answers_are_given_up_when_too_much_is_on_its_way() -> None:
    outbox = Outbox(100)
    callers = put(outbox, 40, 40, 20, 30)
    assert [caller.is_cut_off for caller in callers] == [True, False, False, False]
    assert outbox.waiting_bytes == 90


def test_an_answer_that_is_taken_makes_room_and_one_larger_than_all_goes_alone() -> None:
    outbox = Outbox(100)
    first, second = put(outbox, 60, 40)
    assert first.end is not None
    first.end()
    assert outbox.waiting_bytes == 40
    (large,) = put(outbox, 1000)
    assert second.is_cut_off
    assert not large.is_cut_off

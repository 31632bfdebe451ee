"""Three limits on what is in flight: requests, bulk requests, and response bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mulde.errors import Draining, Overloaded
from serving.rpc.admission import AdmissionController
from tests.support.server import eventually


class _Context:
    """The part of a call's context that is used; ends when it is told to."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.end: Callable[[], None] = lambda: None

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self.end = callback
        return True

    def peer(self) -> str:
        return f"ipv4:127.0.0.1:{id(self)}"

    def cancel(self) -> None:
        self.cancelled.set()

    def messages(self) -> Iterator[bytes]:
        """No message comes until the call is cancelled."""
        self.cancelled.wait(10)
        yield from ()


def a_call() -> Any:
    """A context that has only the part that is used, and so none of gRPC's types."""
    return _Context()


def admission_of(requests: int = 8, bulk: int = 8, size: int = 1 << 20) -> AdmissionController:
    return AdmissionController(requests, bulk, size)


def test_requests_are_refused_after_drain() -> None:
    admission = admission_of()
    admission.enter(a_call())
    admission.drain()
    with pytest.raises(Draining):
        admission.enter(a_call())


def test_only_so_many_requests_are_in_flight_at_once() -> None:
    admission = admission_of(requests=2)
    first = a_call()
    admission.enter(first)
    admission.enter(a_call())
    for refused in (admission.check, lambda: admission.enter(a_call())):
        with pytest.raises(Overloaded, match="2 requests in flight"):
            refused()
    admission.leave(first)
    admission.enter(a_call())
    assert admission.requests == 2


def test_draining_waits_for_requests_in_flight() -> None:
    admission = admission_of()
    context = a_call()
    admission.enter(context)
    assert not admission.wait_until_empty(0.05)
    admission.leave(context)
    assert admission.wait_until_empty(0.05)


def test_only_so_many_bulk_requests_are_in_flight_at_once() -> None:
    admission = admission_of(bulk=1)
    first, second = a_call(), a_call()
    admission.enter(first)
    admission.enter(second)
    admission.enter_bulk(first)
    admission.enter_bulk(first)  # once is enough
    with pytest.raises(Overloaded, match="1 bulk requests"):
        admission.enter_bulk(second)
    admission.leave(first)
    admission.enter_bulk(second)


def test_a_large_message_counts_as_several_bulk_requests() -> None:
    admission = AdmissionController(8, 4, 1 << 20, max_message_bytes=4000)
    large, small, other = a_call(), a_call(), a_call()
    for context in (large, small, other):
        admission.enter(context)
    admission.enter_bulk(large, 2500)  # three shares of 1,000 bytes
    admission.enter_bulk(large)  # a second time, for its chunks: it counts no less
    admission.enter_bulk(small, 1000)
    with pytest.raises(Overloaded, match="4 bulk requests"):
        admission.enter_bulk(other)
    admission.leave(large)
    with pytest.raises(Overloaded, match="4 bulk requests"):
        admission.enter_bulk(other, 4000)
    admission.leave(small)
    admission.enter_bulk(other, 1 << 20)  # alone, whatever its size


def test_requests_are_refused_while_one_has_waited_too_long() -> None:
    waited_s = [0.0]
    admission = AdmissionController(8, 1, 1, 0.05, lambda: waited_s[0])
    admission.check()
    waited_s[0] = 0.06
    with pytest.raises(Overloaded, match="50 ms"):
        admission.check()


def send(admission: AdmissionController, *sizes: int) -> list[Any]:
    contexts = [a_call() for _ in sizes]
    for size, context in zip(sizes, contexts, strict=True):
        admission.reserve(size)
        admission.send(size, context)
    return contexts


def test_the_oldest_responses_are_cancelled_when_too_many_bytes_are_under_way() -> None:
    admission = admission_of(size=100)
    contexts = send(admission, 40, 40, 20, 30)
    assert [context.cancelled.is_set() for context in contexts] == [True, False, False, False]
    assert admission.unsent_bytes == 90


def test_a_response_that_was_taken_makes_room() -> None:
    admission = admission_of(size=100)
    first, second = send(admission, 60, 40)
    first.end()
    assert admission.unsent_bytes == 40
    send(admission, 60)
    assert not second.cancelled.is_set()


def test_responses_that_are_being_built_are_not_cancelled_but_refused() -> None:
    admission = admission_of(size=100)
    admission.reserve(80)
    with pytest.raises(Overloaded, match="100 bytes of responses"):
        admission.reserve(21)
    admission.release(80)
    admission.reserve(100)
    assert admission.unsent_bytes == 100


def receive(admission: AdmissionController) -> Any:
    """A call in a thread of its own whose message does not come."""
    context = a_call()

    def run() -> None:
        with pytest.raises(StopIteration):
            admission.receive(context.messages(), context)

    threading.Thread(target=run, daemon=True).start()
    return context


def test_calls_without_a_message_give_way_once_they_have_stalled() -> None:
    admission = admission_of(requests=2)
    stalled = [receive(admission), receive(admission)]
    eventually(lambda: admission.receiving == 2)
    with pytest.raises(Overloaded, match="being received"):
        admission.receive(iter([b"early"]), a_call())
    time.sleep(0.3)
    assert admission.receive(iter([b"late"]), a_call()) == b"late"
    assert sum(context.cancelled.is_set() for context in stalled) == 1
    for context in stalled:
        context.cancel()


def test_a_message_that_arrives_while_its_call_is_cancelled_is_not_worked_on() -> None:
    admission, results = admission_of(requests=2), list[object]()
    late = a_call()

    def message_as_it_is_cancelled() -> Iterator[bytes]:
        late.cancelled.wait(10)
        yield b"late"

    def run() -> None:
        try:
            results.append(admission.receive(message_as_it_is_cancelled(), late))
        except Overloaded as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    eventually(lambda: admission.receiving == 1)
    other = receive(admission)
    eventually(lambda: admission.receiving == 2)
    time.sleep(0.3)
    admission.receive(iter([b"new"]), a_call())
    thread.join(10)
    other.cancel()
    assert [type(result) for result in results] == [Overloaded]


def test_calls_that_come_and_go_at_once_leave_nothing_counted() -> None:
    admission, codes = admission_of(requests=4), list[object]()

    def run(number: int) -> None:
        for turn in range(300):
            context = a_call()
            try:
                admission.receive(iter([b"x"] if (turn + number) % 3 else []), context)
                admission.enter(context)
                admission.leave(context)
            except (Overloaded, StopIteration) as error:
                codes.append(type(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (admission.receiving, admission.requests) == (0, 0)
    assert StopIteration in codes

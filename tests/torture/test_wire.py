"""Hostile callers at the real port: honest ones are answered; memory and log stay in bounds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from socket import socket

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.process.monitoring.health import MOST_WATCHERS
from tests.support.server import ServerProcess, eventually, method_of_bytes, server
from tests.support.toy import toy_bundle
from tests.torture import attacks
from tests.torture.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    call_headers,
    connected,
    frame,
    frames_of,
    is_closed,
    message,
    plain,
    settings,
)
from tests.torture.siege import CHECK, HONEST, MIB, PREDICT, REFLECT, WATCH, Siege, descriptors
from tests.torture.tools import Tally

CONNECTIONS = 200
LIMITS = {
    "MULDE_SERVER__MAX_CONNECTIONS": str(CONNECTIONS),
    "MULDE_SERVER__MAX_UNSENT_BYTES": str(8 * MIB),
    "MULDE_LIMITS__MAX_MESSAGE_BYTES": str(MIB),
}
SLOWEST_S = 3.0
MOST_GROWN = 128 * MIB
OK, NO_ROOM = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED
EFFORTS = [1, pytest.param(10, marks=pytest.mark.torture)]


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("fortress")
    toy = toy_bundle(folder / "toy", entities=1200, relations=4)
    with server(toy.path, "--low-memory", log=folder / "log", env=LIMITS) as process:
        yield process


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("attack", attacks.ALL, ids=lambda attack: attack.__name__)
def test_honest_callers_are_answered_and_memory_is_bounded(
    fortress: ServerProcess,
    attack: attacks.Attack,
    effort: int,
    generator: np.random.Generator,
    tally: Tally,
) -> None:
    with Siege(fortress) as siege:
        inputs = attack(fortress.address, generator, effort)
    grown = siege.grown_bytes / MIB
    answers, refusals = siege.codes.count(OK), siege.codes.count(NO_ROOM)
    told = {"honest_answers": answers, "refusals": refusals, "slowest_s": siege.slowest_s}
    tally("wire", inputs=inputs, grown_mib=grown, **told)
    assert answers > 0
    assert answers + refusals == len(siege.codes), set(siege.codes)
    assert siege.slowest_s < SLOWEST_S
    assert grown < MOST_GROWN / MIB
    assert_as_before(fortress)


def assert_as_before(fortress: ServerProcess) -> None:
    """A new caller is answered, health is SERVING, and connections are closed."""
    pid = fortress.process.pid
    eventually(lambda: descriptors(pid) < CONNECTIONS // 4)
    with grpc.insecure_channel(fortress.address) as channel:
        method_of_bytes(channel, PREDICT)(HONEST, timeout=10)
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    for line in fortress.raw_log.splitlines():
        assert json.loads(line)["event"] in {"serving", "closed idle connections"}, line


def hung_up(connections: Sequence[socket]) -> int:
    """How many of these the other side has closed by now."""
    return sum(is_closed(connection, within_s=0.001) for connection in connections)


def test_no_more_connections_than_allowed_are_held(fortress: ServerProcess) -> None:
    pid = fortress.process.pid
    before = descriptors(pid)
    with ExitStack() as stack:
        made = [stack.enter_context(plain(fortress.address)) for _ in range(2 * CONNECTIONS)]
        # One too many is taken on for the moment that it takes to hang up, so count those first.
        eventually(lambda: hung_up(made) >= CONNECTIONS, timeout=8)
        eventually(lambda: descriptors(pid) <= before + CONNECTIONS, timeout=8)
        assert descriptors(pid) >= before + CONNECTIONS // 4  # the most silent half was closed
    assert_as_before(fortress)


def test_answers_that_nobody_takes_are_given_up(fortress: ServerProcess) -> None:
    """One after the other, some 1 MiB each, where 8 MiB may be on their way."""
    asked = 24
    answered: set[int] = set()
    given_up: set[int] = set()
    with connected(fortress.address, settings(s4=0)) as connection:
        for place in range(asked):
            connection.sendall(attacks.large_question(place))
            for kind, stream in frames_of(connection, within_s=60):
                (answered if kind == HEADERS else given_up if kind == RST_STREAM else set()).add(
                    stream
                )
                if 2 * place + 1 in answered:
                    break
    assert len(answered) == asked
    assert len(given_up) >= asked // 2
    assert_as_before(fortress)


def test_a_client_that_says_nothing_is_hung_up_on(fortress: ServerProcess) -> None:
    with plain(fortress.address) as connection:
        assert is_closed(connection, within_s=20)


def test_a_stuck_watcher_does_not_keep_the_server_from_stopping(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("watched")
    toy = toy_bundle(folder / "toy")
    with server(toy.path, "--grace-s", "2", log=folder / "log") as process:
        headers = call_headers(WATCH)
        opening = frame(HEADERS, END_HEADERS, 1, headers)
        asked = frame(DATA, END_STREAM, 1, message(b""))
        with connected(process.address, settings(s4=0), opening + asked):
            time.sleep(0.5)  # now it watches, and what it was told first lies unread
            assert process.terminate() == 0


STALLED = {
    "health checks without a message": [frame(HEADERS, END_HEADERS, 1, call_headers(CHECK))],
    "watches without a message": [frame(HEADERS, END_HEADERS, 1, call_headers(WATCH))],
    "watches that take no status": [
        frame(HEADERS, END_HEADERS, 1, call_headers(WATCH)),
        frame(DATA, END_STREAM, 1, message(b"")),
    ],
    "reflections without a message": [frame(HEADERS, END_HEADERS, 1, call_headers(REFLECT))],
    "reflections that take no response": [
        frame(HEADERS, END_HEADERS, 1, call_headers(REFLECT)),
        frame(DATA, END_STREAM, 1, message(b"\x3a\x00")),
    ],
    "predictions without a message": [frame(HEADERS, END_HEADERS, 1, call_headers(PREDICT))],
}


@pytest.mark.parametrize("opening", STALLED.values(), ids=STALLED)
def test_calls_that_stall_keep_no_other_caller_out(
    fortress: ServerProcess, opening: list[bytes]
) -> None:
    """They stay open until the honest callers have been answered, or that has taken too long."""
    with ExitStack() as stack:
        connection = stack.enter_context(connected(fortress.address, settings(s4=0)))
        connection.sendall(attacks.on_streams(opening))
        time.sleep(0.5)  # now the server has them
        channel = stack.enter_context(grpc.insecure_channel(fortress.address))
        check = health_pb2_grpc.HealthStub(channel).Check
        ask = method_of_bytes(channel, PREDICT)
        eventually(lambda: is_answered(partial(ask, HONEST, timeout=5)))
        eventually(lambda: is_answered(partial(check, health_pb2.HealthCheckRequest(), timeout=5)))
    assert_as_before(fortress)


def is_answered(call: Callable[[], object]) -> bool:
    """Whether a call is answered, and not refused as one too many."""
    try:
        call()
    except grpc.RpcError as error:
        if error.code() is not NO_ROOM:
            raise
        return False
    return True


def test_watchers_beyond_the_bound_are_shared_among_connections(fortress: ServerProcess) -> None:
    """Eleven connections want 120 each; one that comes late with one gets it."""
    connections, request = 11, health_pb2.HealthCheckRequest()
    codes, watches = [], []  # a watch without a reference is cancelled
    with ExitStack() as stack:
        stubs = [stack.enter_context(own_channel(fortress.address)) for _ in range(connections)]
        for stub in map(health_pb2_grpc.HealthStub, stubs):
            for _ in range(attacks.STREAMS):
                watches.append(stub.Watch(request))
                codes.append(code_of(watches[-1]))
        late = health_pb2_grpc.HealthStub(stack.enter_context(own_channel(fortress.address)))
        watches.append(late.Watch(request))
        assert code_of(watches[-1]) is OK
        assert codes.count(OK) >= MOST_WATCHERS
        assert codes.count(OK) + codes.count(NO_ROOM) == connections * attacks.STREAMS
        eventually(lambda: sum(watch.is_active() for watch in watches) <= MOST_WATCHERS)
    assert_as_before(fortress)


def own_channel(address: str) -> grpc.Channel:
    """A channel that shares its connection with no other."""
    return grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])


def code_of(watch: Iterator[health_pb2.HealthCheckResponse]) -> grpc.StatusCode:
    """OK for a watcher that was told something, else how it ended."""
    try:
        next(watch)
    except grpc.RpcError as error:
        return error.code()
    return OK

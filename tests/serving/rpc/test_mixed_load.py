"""Heavy requests beside small ones, in the real server process: order, codes, memory, deadlines."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message

from mulde.v1 import prediction_pb2
from tests.support.memory import peak_bytes, private_bytes
from tests.support.server import ServerProcess, eventually, method_of_bytes, server
from tests.support.toy import toy_bundle

E, R = 12_000, 240
MIB = 1 << 20
OK, REFUSED = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED
SERVICE = "/mulde.v1.LinkPredictionService/"
CODES = {OK, REFUSED, grpc.StatusCode.DEADLINE_EXCEEDED}


def names(count: int, seed: int = 0) -> list[str]:
    rows = np.random.default_rng(seed).integers(E, size=count)
    return [f"Q{row:07d}" for row in rows.tolist()]


def context() -> list[prediction_pb2.ContextFact]:
    """100 facts about each of 100 unknown entities."""
    told = zip(names(10_000, 2), range(10_000), strict=True)
    return [
        prediction_pb2.ContextFact(head=f"new {n % 100}", relation=f"P{n % R}", tail=tail)
        for tail, n in told
    ]


MANY: dict[str, Any] = {"heads": names(1024), "relations": ["P1"] * 1024}
HEAVY: dict[str, tuple[str, Message]] = {
    "tails, k 1000, exact": (
        "PredictTails",
        prediction_pb2.PredictTailsRequest(**MANY, options={"k": 1000, "exact": True}),
    ),
    "tails, allow list": (
        "PredictTails",
        prediction_pb2.PredictTailsRequest(
            **MANY, options={"k": 100}, filter={"allow": {"names": names(100_000)}}
        ),
    ),
    "relations": (
        "PredictRelations",
        prediction_pb2.PredictRelationsRequest(heads=names(1024), tails=names(1024, 1)),
    ),
    "ranks": (
        "ScoreTriples",
        prediction_pb2.ScoreTriplesRequest(**MANY, tails=names(1024, 1), ranks=True),
    ),
    "similar, k 1000": (
        "SimilarEntities",
        prediction_pb2.SimilarEntitiesRequest(entities=names(1024), k=1000),
    ),
    "context": (
        "PredictTails",
        prediction_pb2.PredictTailsRequest(heads=["new 1"], relations=["P1"], context=context()),
    ),
}
SINGLE = prediction_pb2.PredictTailsRequest(heads=["Q0000001"], relations=["P1"])


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("busy")
    toy = toy_bundle(folder / "toy", entities=E, relations=R)
    with server(toy.path, log=folder / "log") as process:
        yield process


def call(channel: grpc.Channel, method: str, request: Message, timeout: float) -> grpc.StatusCode:
    path = method if method.startswith("/") else SERVICE + method
    ask = method_of_bytes(channel, path)
    try:
        ask(request.SerializeToString(), timeout=timeout)
    except grpc.RpcError as error:
        return error.code()
    return OK


@contextmanager
def connected(process: ServerProcess, number: int = 0) -> Iterator[grpc.Channel]:
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("mulde.caller", number),
        ("grpc.max_receive_message_length", -1),
    ]
    with grpc.insecure_channel(process.address, options) as channel:
        yield channel


@contextmanager
def callers(
    process: ServerProcess, count: int, step: Callable[[grpc.Channel, int], grpc.StatusCode]
) -> Iterator[Counter[grpc.StatusCode]]:
    """Callers that repeat a call until the end of the block; yields the codes that they hear."""
    over, codes = threading.Event(), Counter[grpc.StatusCode]()

    def run(number: int) -> None:
        with connected(process, number) as channel:
            while not over.is_set():
                codes[step(channel, number)] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield codes
    finally:
        over.set()
        for thread in threads:
            thread.join()


def seconds_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def test_beside_bulk_callers_a_single_query_is_never_refused_and_waits_for_a_chunk(
    busy: ServerProcess,
) -> None:
    """Its median is below the time of one bulk request alone; first come, first served takes 16."""
    bulk = prediction_pb2.PredictTailsRequest(**MANY, options={"k": 100})
    with connected(busy) as channel:

        def ask(request: Message) -> None:
            assert call(channel, "PredictTails", request, 60) is OK

        alone_s = min(seconds_of(lambda: ask(bulk)) for _ in range(3))
        with callers(busy, 16, lambda to, _: call(to, "PredictTails", bulk, 60)) as codes:
            eventually(lambda: busy.metric("mulde_requests_in_flight") >= 8)
            singles_s = [seconds_of(lambda: ask(SINGLE)) for _ in range(40)]
    assert set(codes) <= {OK, REFUSED}
    assert np.median(singles_s) < alone_s


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that answers two requests at a time."""
    folder = tmp_path_factory.mktemp("narrow")
    toy = toy_bundle(folder / "toy", entities=E, relations=2)
    limit = {"MULDE_SERVER__MAX_CONCURRENT_REQUESTS": "2"}
    with server(toy.path, log=folder / "log", env=limit) as process:
        yield process


@pytest.mark.parametrize("size", [1, 64])
def test_calls_that_are_refused_under_overload_hear_resource_exhausted(
    narrow: ServerProcess, size: int
) -> None:
    """More and more calls at once, until some are refused; and five times as many after that."""
    request = prediction_pb2.PredictTailsRequest(heads=names(size), relations=["P1"] * size)
    packed, codes = request.SerializeToString(), Counter[grpc.StatusCode]()
    with connected(narrow, 1) as first, connected(narrow, 2) as second:
        asks = [method_of_bytes(channel, SERVICE + "PredictTails") for channel in (first, second)]

        def ask(calls: int) -> None:
            futures = [asks[n % 2].future(packed, timeout=60) for n in range(calls)]
            codes.update(future.code() for future in futures)

        calls = 300
        while REFUSED not in codes and calls < 30_000:
            ask(calls)
            calls *= 2
        for _ in range(5):
            ask(300)
    assert set(codes) == {OK, REFUSED}


@pytest.mark.parametrize("name", HEAVY)
def test_a_deadline_stops_the_work(busy: ServerProcess, name: str) -> None:
    """A deadline at a fifth of the time that the whole request takes saves half of the work."""
    method, request = HEAVY[name]
    with connected(busy) as channel:

        def spent_s(timeout_s: float, expected: grpc.StatusCode) -> float:
            before = cpu_seconds(busy)
            assert call(channel, method, request, timeout_s) is expected
            eventually(lambda: busy.metric("mulde_requests_in_flight") == 0)
            return cpu_seconds(busy) - before

        whole_s = min(spent_s(60, OK) for _ in range(2))
        cut_s = spent_s(whole_s / 5, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert cut_s < whole_s / 2


def cpu_seconds(process: ServerProcess) -> float:
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(300)
def test_memory_is_bounded_under_a_mixture_of_heavy_calls(busy: ServerProcess) -> None:
    kinds = list(HEAVY.values())
    with connected(busy) as channel:
        assert call(channel, "PredictTails", SINGLE, 60) is OK
    before = private_bytes(busy.process.pid)
    with callers(busy, 24, lambda to, n: call(to, *kinds[n % len(kinds)], 3.0)) as codes:
        peak = peak_bytes(busy.process.pid, 15, 0.05)
    assert set(codes) <= CODES
    assert peak - before < 384 * MIB

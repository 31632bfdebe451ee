"""A call that has ended is let go of at once, and not when garbage is collected.

The server collects seldom, and to gRPC a call is open until nothing refers to it: a connection may
have 128 open calls, and once a caller who named 129 unknown entities in his filters was refused
everything after.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, seed, settings

from mulde.v1 import common_pb2, prediction_pb2
from tests.fuzz.requests import Context, methods
from tests.fuzz.targets import GOLDEN
from tests.support.server import ServerProcess, method_of_bytes
from tests.torture.conftest import SEED
from tests.torture.test_requests import METHODS, requests
from tests.torture.tools import Tally

MOST_OPEN = 128


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "count", [60, pytest.param(4000, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])]
)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.usefixtures("no_collector")
def test_nothing_refers_to_a_call_that_has_ended(
    method: MethodDescriptor, count: int, tally: Tally
) -> None:
    answer_to: Any = methods(GOLDEN)[METHODS.index(method)][0]
    calls = 0

    @seed(SEED)
    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(request=requests(method))
    def send(request: Message) -> None:
        nonlocal calls
        context = Context()
        call = weakref.ref(context)
        answer_to(request.SerializeToString(), context)
        del context
        calls += 1
        assert call() is None

    send()
    assert calls >= count
    tally("calls that ended", calls=calls, held=0)


def test_a_connection_carries_more_refusals_than_it_may_have_open_calls(
    counter: ServerProcess,
) -> None:
    """Over one connection, one after the other."""
    sieve = common_pb2.CandidateFilter(deny=["nobody"])
    request = prediction_pb2.SimilarEntitiesRequest(entities=["Q0000001"], k=3, filter=sieve)
    with grpc.insecure_channel(counter.address) as channel:
        ask = method_of_bytes(channel, "/mulde.v1.LinkPredictionService/SimilarEntities")
        for _ in range(2 * MOST_OPEN):
            with pytest.raises(grpc.RpcError) as refused:
                ask(request.SerializeToString(), timeout=30)
            error: Any = refused.value
            assert error.code() is grpc.StatusCode.NOT_FOUND, error.details()

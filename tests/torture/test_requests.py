"""The whole space of requests at the real port: answered or refused by name, and never an accident.

Requests are made from the contract's own descriptors: every field of every message, with names that
are there, names that are not and names that are not allowed, and numbers at every edge.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from serving.rpc.methods import SERVICES
from tests.fuzz.requests import REFUSALS, numbers_of, seeds
from tests.support.server import ServerProcess, method_of_bytes
from tests.torture.conftest import SEED
from tests.torture.siege import HONEST, MIB, PREDICT, descriptors, memory_bytes
from tests.torture.tools import Tally

E, R = 12, 2  # of the golden bundle
METHODS = [method for service in SERVICES for method in service.methods]
MOST_GROWN = 64 * MIB

_TEXTS = st.one_of(
    st.integers(0, E - 1).map("Q{:07d}".format),
    st.integers(0, R - 1).map("P{}".format),
    st.sampled_from(
        ["thing 7", "twin", "relation 1", "tail:P0", "golden", "1", "", "../toy", "W10="]
    ),
    st.text(max_size=40),
    st.integers(0, 2000).map("x".__mul__),
)
_EDGES = [-1, 0, 1, 3, R, 16, 17, 20, 21, E, 2**31 - 1, -(2**31)]
_NUMBERS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_INT32: st.sampled_from(_EDGES),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_ENUM: st.integers(-1, 5),
    FieldDescriptor.TYPE_STRING: _TEXTS,
}


def messages(kind: Descriptor) -> st.SearchStrategy[Message]:
    """Messages of a kind in which each field is there or not."""
    fields = {field.name: st.none() | _values(field) for field in kind.fields}
    make = GetMessageClass(kind)

    def made(given_fields: dict[str, Any]) -> Message:
        return make(**{name: value for name, value in given_fields.items() if value is not None})

    return st.fixed_dictionaries(fields).map(made)


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        assert field.message_type is not None
        one: st.SearchStrategy[Any] = messages(field.message_type)
    else:
        one = _NUMBERS[field.type]
    return st.lists(one, max_size=3) | st.lists(one, max_size=18) if field.is_repeated else one


def requests(method: MethodDescriptor) -> st.SearchStrategy[Message]:
    """Any request, or a sound one of which some fields are any."""
    kind = method.input_type
    make, anything = GetMessageClass(kind), messages(kind)
    sound = [make.FromString(one[1:]) for one in seeds() if METHODS[one[0]] is method]
    if not sound:
        return anything
    few = st.lists(st.sampled_from([field.name for field in kind.fields]), max_size=2)

    def changed(parts: tuple[Message, list[str]]) -> Message:
        other, names = parts
        request, put = make(), make()
        request.CopyFrom(sound[0])
        put.CopyFrom(other)
        for field in kind.fields:
            (request if field.name in names else put).ClearField(field.name)
        request.MergeFrom(put)
        return request

    return st.one_of(anything, st.tuples(anything, few).map(changed))


@pytest.mark.parametrize(
    "count", [60, pytest.param(4000, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])]
)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_request_is_answered_or_refused_by_name(
    counter: ServerProcess, method: MethodDescriptor, count: int, tally: Tally
) -> None:
    pid = counter.process.pid
    before, codes = memory_bytes(pid), Counter[grpc.StatusCode]()
    with grpc.insecure_channel(counter.address) as channel:
        path = f"/{method.containing_service.full_name}/{method.name}"
        ask = method_of_bytes(channel, path)
        answer_class = GetMessageClass(method.output_type)

        @seed(SEED)
        @settings(
            max_examples=count, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(request=requests(method))
        def send(request: Message) -> None:
            try:
                answer = ask(request.SerializeToString(), timeout=30)
            except grpc.RpcError as error:
                codes[error.code()] += 1
                if error.code() not in REFUSALS:
                    raise
            else:
                codes[grpc.StatusCode.OK] += 1
                assert all(map(math.isfinite, numbers_of(answer_class.FromString(answer))))

        send()
        method_of_bytes(channel, PREDICT)(HONEST, timeout=30)
    assert sum(codes.values()) >= count
    assert memory_bytes(pid) - before < MOST_GROWN
    assert [json.loads(line)["event"] for line in counter.raw_log.splitlines()] == ["serving"]
    grown = (memory_bytes(pid) - before) / MIB
    tally("requests at the port", inputs=sum(codes.values()), accidents=0, grown_mib=grown)
    tally("requests at the port", answered=codes[grpc.StatusCode.OK])
    tally("requests at the port", descriptors=float(descriptors(pid)))

"""Bytes that are no request, or too many, are refused, and the server stays up."""

from __future__ import annotations

import socket

import grpc
import pytest

from mulde.v1 import prediction_pb2, prediction_pb2_grpc
from tests.serving.limits.calls import tails
from tests.support.server import ServerProcess, method_of_bytes


@pytest.mark.parametrize(
    ("size", "code"), [(8191, "NOT_FOUND"), (8192, "NOT_FOUND"), (8193, "RESOURCE_EXHAUSTED")]
)
def test_a_message_above_the_limit_is_refused(channel: grpc.Channel, size: int, code: str) -> None:
    """Below and at it the message is read, and its type found to be none."""
    request = prediction_pb2.PredictTailsRequest(heads=["Q0000001"], relations=["P0"])
    request.filter.types.names.append("?" * (size - request.ByteSize() - 9))
    assert request.ByteSize() == size
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.PredictTails(request)
    assert caught.value.code().name == code
    tails(channel)


def test_invalid_utf8_at_the_wire_is_refused(channel: grpc.Channel) -> None:
    send = method_of_bytes(channel, "/mulde.v1.LinkPredictionService/PredictTails")
    with pytest.raises(grpc.RpcError) as caught:
        send(b"\x12\x02\xff\xfe\x1a\x02P0")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "UTF-8" in str(caught.value.details())


def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel) -> None:
    send = method_of_bytes(channel, "/mulde.v1.ModelService/GetModel")
    with pytest.raises(grpc.RpcError) as caught:
        send(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_method_that_is_none_is_unimplemented(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        method_of_bytes(channel, "/mulde.v1.LinkPredictionService/Guess")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_garbage_on_the_port_leaves_the_server_up(
    narrow: ServerProcess, channel: grpc.Channel
) -> None:
    host, port = narrow.address.split(":")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(garbage)
    tails(channel)

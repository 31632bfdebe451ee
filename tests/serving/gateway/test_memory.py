"""What the gateway holds for callers who send slowly, or take nothing."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.support.gateway import GatewayProcess, gateway
from tests.support.memory import MIB, private_bytes
from tests.support.server import ServerProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux counts it")

PREDICT = "/v1/PredictTails"
SMALL = {"heads": ["Q0000001"], "relations": ["P0"]}
CALLERS = 40
_MOST_GROWN = 400 * MIB


@pytest.fixture
def own_web(served: ServerProcess) -> Iterator[GatewayProcess]:
    with gateway(served.address) as process:
        yield process


def sent(web: GatewayProcess, body: bytes, size: int) -> socket.socket:
    """A connection that has sent a POST with some of a body of ``size`` bytes."""
    host, port = web.url.removeprefix("http://").rstrip("/").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with suppress(OSError):  # refused, and closed, before all was sent
        connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode() + body)
    return connection


def test_bodies_that_do_not_end_are_bounded_together(own_web: GatewayProcess) -> None:
    """Forty callers want to leave 15 MiB each with the gateway: 600 MiB."""
    own_web.post(PREDICT, SMALL)
    before = private_bytes(own_web.process.pid)
    with ExitStack() as stack:
        for _ in range(CALLERS):
            stack.enter_context(sent(own_web, b" " * (15 * MIB), 16 * MIB))
        status, _ = own_web.post(PREDICT, SMALL)
        grown = private_bytes(own_web.process.pid) - before
    assert status == 200
    assert grown < _MOST_GROWN

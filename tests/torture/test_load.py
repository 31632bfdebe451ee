"""More calls than can be answered: those that find no room cost little, and hear of it at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from benchmarks import load
from benchmarks.load_page import bars
from mulde.v1 import prediction_pb2
from tests.support.server import ROOT, ServerProcess, eventually, method_of_bytes, server
from tests.support.toy import toy_bundle
from tests.torture.frames import END_HEADERS, END_STREAM, HEADERS, call_headers, connected, frame
from tests.torture.siege import HONEST, PREDICT
from tests.torture.tools import Tally

PLACES = 3
LIMITS = {"MULDE_SERVER__MAX_CONCURRENT_REQUESTS": str(PLACES)}
BIG = 60_000
SCORE = "/mulde.v1.LinkPredictionService/ScoreTriples"
LONG = prediction_pb2.ScoreTriplesRequest(
    heads=["Q0000001"] * 1024, relations=["P0"] * 1024, tails=["Q0000002"] * 1024, ranks=True
).SerializeToString()
"""A request that takes many seconds: 1,024 times the ranks among all entities."""
NO_ROOM = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("busy")
    with server(
        toy_bundle(folder / "toy", entities=BIG, dimension=32).path, log=folder / "log", env=LIMITS
    ) as process:
        yield process


@contextmanager
def full(served: ServerProcess) -> Iterator[list[grpc.Future[bytes]]]:
    """While all places are taken; yields the calls that have them."""
    with grpc.insecure_channel(served.address) as channel:
        ask = method_of_bytes(channel, SCORE)
        inside: list[grpc.Future[bytes]] = []
        while len(inside) < PLACES:  # no more than two may be sending their message at once
            inside.append(ask.future(LONG, timeout=60))
            eventually(lambda: served.metric("mulde_requests_in_flight") == len(inside))
        yield inside
        for call in inside:
            call.cancel()
    eventually(lambda: served.metric("mulde_requests_in_flight") == 0)


def test_a_call_above_the_limit_is_refused_before_the_calls_in_flight_end(
    busy: ServerProcess,
) -> None:
    with full(busy) as inside, grpc.insecure_channel(busy.address) as channel:
        ask = method_of_bytes(channel, PREDICT)
        codes = [ask.future(HONEST, timeout=30).code() for _ in range(20)]
        assert codes == [NO_ROOM] * 20
        assert not any(call.done() for call in inside)


def test_a_call_without_room_is_refused_before_its_message_comes(busy: ServerProcess) -> None:
    opening = frame(HEADERS, END_HEADERS, 1, call_headers(PREDICT))
    with full(busy) as inside, ExitStack() as stack:
        refused = [stack.enter_context(connected(busy.address, opening)) for _ in range(50)]
        assert all(has_ended(connection) for connection in refused)
        assert not any(call.done() for call in inside)


def has_ended(connection: socket.socket) -> bool:
    """Whether headers come that end the stream, while the connection goes on."""
    connection.settimeout(5)
    stream = connection.makefile("rb")
    while head := stream.read(9):
        stream.read(int.from_bytes(head[:3], "big"))
        if head[3] == HEADERS and head[4] & END_STREAM:
            return True
    return False


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_twice_the_load_is_answered_nearly_as_well_as_once(tmp_path: Path, tally: Tally) -> None:
    """What the figures must be is for a machine of one's own (`make load`); here far less."""
    flags = ["--rounds", "2", "--seconds", "4", "--records", str(tmp_path)]
    bundle = str(ROOT / "models/wn18rr-32")
    done = CliRunner().invoke(load.app, ["measure", bundle, *flags])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "wn18rr-32.json").read_text("utf-8"))
    tally("load", calls=sum(one["calls"] for one in record["rates"]), **bars(record))
    assert all(one["otherwise"] == 0 for one in record["rates"])
    assert bars(record)["goodput_share"] > 0.5

"""Bundles that go, or change, under several workers: all answer from the same one, or do not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from mulde.client import Client, Connection
from mulde.v1 import model_pb2, prediction_pb2
from tests.serving.test_server_models import ADMIN, expected, first, tokens
from tests.support.memory import mapped
from tests.support.server import ServerProcess, eventually, method_of_bytes, server
from tests.support.toy import toy_bundle

CONNECTIONS = 16
PATIENT = {"MULDE_SERVER__HEARTBEAT_TIMEOUT_S": "600"}
"""A worker that a test has stopped is not taken for one that hangs, however slow the machine."""
TOKEN = (("authorization", f"Bearer {ADMIN}"),)
ENOUGH_S = 2.0
"""For a worker to end what it does with a small bundle that it has mapped."""


@dataclass(frozen=True)
class Place:
    """A server of two workers over a repository with version 1."""

    root: Path
    process: ServerProcess

    def client(self) -> Client:
        """With a connection of its own, so that the kernel may pick any worker."""
        return Client(Connection(self.process.address, token=ADMIN, attempts=5))

    def answers(self) -> set[tuple[str, tuple[float, ...]]]:
        """What is heard over several connections."""
        found = set()
        for _ in range(CONNECTIONS):
            with self.client() as client:
                found.add(first(client))
        return found

    def told(self, event: str) -> int:
        return sum(line["event"].startswith(event) for line in self.process.log())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    root = tmp_path / "models"
    (root / "toy").mkdir(parents=True)
    toy_bundle(root / "toy/1", seed=1)
    flags = ("--api-key-file", str(tokens(tmp_path)), "--workers", "2")
    with server(root, *flags, log=tmp_path / "log", env=PATIENT) as process:
        yield Place(root, process)


@pytest.mark.parametrize("other", [False, True], ids=["gone", "another in its place"])
def test_a_worker_that_cannot_load_what_the_others_have_is_tried_again(
    place: Place, other: bool
) -> None:
    path = place.root / "toy/1"
    truth = {("toy/1", expected(path))}
    path.rename(place.root / "aside")
    if other:
        toy_bundle(path, seed=2)
    os.kill(place.process.children()[0], signal.SIGKILL)
    eventually(lambda: place.told("worker cannot start") >= 2, timeout=60)
    assert place.told("worker replaced") == 0
    assert place.answers() == truth
    assert place.process.get("/readyz")[0] == 200
    if other:
        path.rename(place.root / "other")
    (place.root / "aside").rename(path)
    eventually(lambda: place.told("worker replaced") == 1, timeout=60)
    assert len(place.process.children()) == 2
    assert place.answers() == truth
    assert place.told("worker died") == 1


def test_workers_that_would_load_different_bundles_load_none(place: Place) -> None:
    """One of them is stopped while the version is overwritten, and reads what came later."""
    path = place.root / "toy/2"
    toy_bundle(path, seed=2, version="2")
    quick, slow = place.process.children()
    os.kill(slow, signal.SIGSTOP)
    try:
        channel = one_that_answers(place.process.address)
        load = method_of_bytes(channel, "/mulde.v1.ModelService/LoadModel")
        wanted = model_pb2.LoadModelRequest(name="toy", version="2")
        change = load.future(wanted.SerializeToString(), timeout=60, metadata=TOKEN)
        eventually(lambda: mapped(quick, path) != {})
        time.sleep(ENOUGH_S)
        toy_bundle(path, seed=3, version="2", overwrite=True)
    finally:
        os.kill(slow, signal.SIGCONT)
    assert change.exception() is not None
    assert "found another one" in change.details()
    channel.close()
    assert {model for model, _ in place.answers()} == {"toy/1"}
    with place.client() as client:
        assert client.load_model("toy", "2").current
    assert place.answers() == {("toy/2", expected(path))}


def one_that_answers(address: str) -> grpc.Channel:
    """A connection to the worker that is not stopped."""
    request = prediction_pb2.PredictTailsRequest(heads=["Q0000001"], relations=["P0"])
    for _ in range(CONNECTIONS):
        channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        ask = method_of_bytes(channel, "/mulde.v1.LinkPredictionService/PredictTails")
        try:
            ask(request.SerializeToString(), timeout=3, metadata=TOKEN)
        except grpc.RpcError:
            channel.close()
        else:
            return channel
    raise AssertionError("every connection was to the same worker")

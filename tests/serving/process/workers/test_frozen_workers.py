"""A worker that stands still (SIGSTOP) is noticed, counted as not ready, killed and replaced."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from mulde.client import Client, Connection
from mulde.errors import MuldeError
from mulde.v1 import model_pb2
from tests.serving.process.workers.test_replaced_bundles import TOKEN, one_that_answers
from tests.serving.test_server_models import ADMIN, tokens
from tests.support.server import ServerProcess, eventually, method_of_bytes, server
from tests.support.toy import toy_bundle

HEARTBEAT_S = 2.0
SETTINGS = {"MULDE_SERVER__HEARTBEAT_TIMEOUT_S": str(HEARTBEAT_S)}
CALL_S = 30.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    (root / "toy").mkdir()
    for version in ("1", "2"):
        toy_bundle(root / "toy" / version, entities=700, seed=int(version), version=version)
    return root


@pytest.fixture
def pair(root: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    flags = ["--workers", "2", "--pin", "toy=1", "--api-key-file", str(tokens(tmp_path))]
    with server(root, *flags, log=tmp_path / "log", env=SETTINGS) as process:
        yield process


def client(process: ServerProcess, timeout_s: float = CALL_S) -> Client:
    return Client(Connection(process.address, token=ADMIN, attempts=5), timeout_s=timeout_s)


def versions(process: ServerProcess) -> set[str]:
    """What answers over 20 new connections."""
    found = set()
    for _ in range(20):
        with client(process) as connected:
            found.add(connected.predict_tails("Q0000001", "P0", k=3).model)
    return found


def replaced(process: ServerProcess, gone: int) -> bool:
    now = process.children()
    return len(now) == 2 and gone not in now and process.get("/readyz")[0] == 200


def test_a_frozen_worker_is_killed_and_replaced(pair: ServerProcess) -> None:
    frozen = pair.children()[0]
    os.kill(frozen, signal.SIGSTOP)
    eventually(lambda: replaced(pair, frozen), timeout=30)
    eventually(lambda: "2 of 2" in pair.get("/readyz")[1], timeout=30)
    assert any("no heartbeat" in str(line) for line in pair.log())
    assert versions(pair) == {"toy/1"}


def test_readyz_is_503_when_every_worker_is_frozen(pair: ServerProcess) -> None:
    frozen = pair.children()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    eventually(lambda: pair.get("/readyz")[0] == 503, timeout=30)
    eventually(lambda: pair.get("/readyz")[0] == 200, timeout=60)
    assert not set(frozen) & set(pair.children())


def test_a_change_beside_a_frozen_worker_ends_and_holds_for_all(pair: ServerProcess) -> None:
    """The frozen worker is left out; its replacement loads what was decided meanwhile."""
    frozen = pair.children()[1]
    os.kill(frozen, signal.SIGSTOP)
    start = time.monotonic()
    changed = False
    while not changed and time.monotonic() - start < CALL_S:
        try:
            with client(pair, 20) as connected:
                changed = connected.load_model("toy", "2").current
        except MuldeError:  # the kernel gave the connection to the frozen worker
            time.sleep(0.2)
    assert changed
    eventually(lambda: "2 of 2" in pair.get("/readyz")[1], timeout=30)
    assert versions(pair) == {"toy/2"}


def test_a_change_that_takes_too_long_names_the_worker_and_changes_nothing(
    root: Path, tmp_path: Path
) -> None:
    """Frozen for longer than a change may take, and for less than the heartbeat may pause."""
    flags = ["--workers", "2", "--pin", "toy=1", "--api-key-file", str(tokens(tmp_path))]
    more = {"MULDE_SERVER__HEARTBEAT_TIMEOUT_S": "120", "MULDE_SERVER__CHANGE_TIMEOUT_S": "8"}
    with server(root, *flags, log=tmp_path / "log", env=more) as process:
        frozen = process.children()[1]
        os.kill(frozen, signal.SIGSTOP)
        channel = one_that_answers(process.address)
        load = method_of_bytes(channel, "/mulde.v1.ModelService/LoadModel")
        wanted = model_pb2.LoadModelRequest(name="toy", version="2").SerializeToString()
        start = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            load(wanted, timeout=60, metadata=TOKEN)
        assert time.monotonic() - start < 24
        assert caught.value.code() is grpc.StatusCode.ABORTED
        assert "worker 1 has not loaded the models after 8 s" in str(caught.value.details())
        os.kill(frozen, signal.SIGCONT)
        assert versions(process) == {"toy/1"}
        load(wanted, timeout=60, metadata=TOKEN)
        channel.close()
        assert versions(process) == {"toy/2"}


def test_sigterm_ends_a_server_whose_workers_are_frozen(pair: ServerProcess) -> None:
    for pid in pair.children():
        os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    assert pair.terminate(timeout=25) == 1
    assert time.monotonic() - start < 4 * HEARTBEAT_S + 5


def test_a_death_after_a_change_beside_a_frozen_worker_is_replaced(pair: ServerProcess) -> None:
    first, second = pair.children()
    os.kill(first, signal.SIGSTOP)
    os.kill(second, signal.SIGKILL)
    eventually(lambda: not {first, second} & set(pair.children()), timeout=30)
    eventually(lambda: "2 of 2" in pair.get("/readyz")[1], timeout=30)
    assert pair.terminate() == 0

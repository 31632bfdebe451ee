"""A server that drains says so at once, and its exit status tells whether calls were cut off."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mulde.client import Client, Connection
from mulde.errors import MuldeError
from tests.support.server import ServerProcess, server
from tests.support.toy import toy_bundle

BIG = 60_000
MOST = 1024
"""Triples of one call."""


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose ranks take long enough to be interrupted."""
    return toy_bundle(tmp_path_factory.mktemp("big") / "toy", entities=BIG, dimension=32).path


def rank(process: ServerProcess, count: int) -> threading.Thread:
    """Rank triples in a thread, some milliseconds for each, and see the call in flight.

    A call that ends before it was seen is made once more, twice as long where it may be.
    """

    def run() -> None:
        with Client(Connection(process.address, attempts=1)) as client, suppress(MuldeError):
            client.score(["Q0000001"] * count, "P0", "Q0000002", ranks=True, timeout_s=60)

    while True:
        call = threading.Thread(target=run)
        call.start()
        while call.is_alive():
            if process.metric("mulde_requests_in_flight") == 1:
                return call
        count = min(2 * count, MOST)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_readyz_is_503_from_the_signal_on(big: Path, tmp_path: Path, workers: str) -> None:
    with server(big, "--workers", workers, log=tmp_path / "log") as process:
        call = rank(process, MOST)
        assert process.get("/readyz")[0] == 200
        process.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.get("/readyz")[0] == 503
        assert process.get("/livez")[0] == 200
        call.join()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_status_is_1_where_a_call_was_cut_off(big: Path, tmp_path: Path, workers: str) -> None:
    flags = ("--workers", workers, "--grace-s", "0.2")
    with server(big, *flags, log=tmp_path / "log") as process:
        call = rank(process, MOST)
        assert process.terminate() == 1
        assert process.log()[-1]["all_answered"] is False
        call.join()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_status_is_0_where_every_call_was_answered(
    big: Path, tmp_path: Path, workers: str
) -> None:
    flags = ("--workers", workers, "--grace-s", "100")
    with server(big, *flags, log=tmp_path / "log") as process:
        call = rank(process, 256)
        assert process.terminate(timeout=120) == 0
        call.join()

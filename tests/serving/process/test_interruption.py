"""Too many calls, deadlines, SIGTERM and the grace time."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from mulde.client import Client, Connection
from mulde.errors import DeadlineExceeded, Draining, MuldeError, Overloaded, Unreachable
from tests.support.server import eventually, server
from tests.support.toy import toy_bundle

BIG = 60_000


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose ranks take long enough to be interrupted."""
    return toy_bundle(tmp_path_factory.mktemp("big") / "toy", entities=BIG, dimension=32).path


def slow(client: Client, count: int = 64, timeout_s: float = 60) -> None:
    """Rank triples: some milliseconds for each."""
    client.score(["Q0000001"] * count, "P0", "Q0000002", ranks=True, timeout_s=timeout_s)


def test_too_many_calls_at_once_are_refused_at_once(big: Path, tmp_path: Path) -> None:
    flags = ("--max-concurrent-requests", "2")
    with (
        server(big, *flags, log=tmp_path / "log") as process,
        Client(Connection(process.address, attempts=1)) as client,
    ):
        calls = [threading.Thread(target=slow, args=(client, 96)) for _ in range(2)]
        for call in calls:
            call.start()
        eventually(lambda: process.metric("mulde_requests_in_flight") == 2)
        start = time.perf_counter()
        with pytest.raises(Overloaded, match="2 requests in flight"):
            client.predict_tails("Q0000001", "P0")
        assert time.perf_counter() - start < 1
        for call in calls:
            call.join()
        assert len(client.predict_tails("Q0000001", "P0").rows) == 10


def test_a_deadline_is_kept(big: Path, tmp_path: Path) -> None:
    with server(big, log=tmp_path / "log") as process, Client(process.address) as client:
        start = time.perf_counter()
        with pytest.raises(DeadlineExceeded):
            slow(client, 1024, timeout_s=0.05)
        assert time.perf_counter() - start < 1
        assert len(client.predict_tails("Q0000001", "P0", timeout_s=30).rows) == 10


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_finishes_what_runs_and_takes_nothing_new(
    big: Path, tmp_path: Path, workers: str
) -> None:
    with server(big, "--workers", workers, log=tmp_path / "log") as process:
        with Client(Connection(process.address, attempts=1)) as client:
            outcome: list[object] = []

            def run() -> None:
                try:
                    slow(client, 160)
                    outcome.append("answered")
                except Exception as error:
                    outcome.append(error)

            call = threading.Thread(target=run)
            call.start()
            eventually(lambda: process.metric("mulde_requests_in_flight") == 1)
            process.process.send_signal(signal.SIGTERM)
            eventually(lambda: any(line["event"] == "draining" for line in process.log()))
            time.sleep(0.1)
            with pytest.raises((Draining, Unreachable)):
                client.predict_tails("Q0000001", "P0")
            call.join()
        assert outcome == ["answered"]
        assert process.process.wait(10) == 0
        assert process.log()[-1]["all_answered"] is True


def test_the_grace_time_ends_what_takes_too_long(big: Path, tmp_path: Path) -> None:
    outcome: list[object] = []

    def run(client: Client) -> None:
        try:
            slow(client, 1024)
        except MuldeError as error:
            outcome.append(error)

    with (
        server(big, "--grace-s", "0.2", log=tmp_path / "log") as process,
        Client(Connection(process.address, attempts=1)) as client,
    ):
        call = threading.Thread(target=run, args=(client,))
        call.start()
        eventually(lambda: process.metric("mulde_requests_in_flight") == 1)
        start = time.perf_counter()
        assert process.terminate(10) == 1
        assert time.perf_counter() - start < 5
        call.join()
        assert process.log()[-1]["all_answered"] is False
    assert [type(one) for one in outcome] == [Unreachable]

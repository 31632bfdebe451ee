"""The open-loop generator is open and bounded, and the page says what the records say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import load
from benchmarks.load_page import bars, write_page
from benchmarks.openloop import NOT_SENT, OK, REFUSED, Load, Outcome, send
from tests.support.toy import toy_bundle

METHOD = "/test.Kitchen/Cook"
DEADLINE = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


class Kitchen(grpc.GenericRpcHandler):
    """Refuses "no", answers all else, and can be held up."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self.cook)

    def cook(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"no":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
        self.open.wait(10)
        return request


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
def address(kitchen: Kitchen) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[kitchen])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    kitchen.open.set()
    server.stop(0).wait()


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"address": "192.0.2.1:50051"}, "address"),
        ({"seconds": 121.0}, "seconds"),
        ({"seconds": 100.0, "rate": 1e6}, "calls"),
        ({"rate": 0.0}, "calls"),
    ],
)
def test_it_stays_on_this_machine_and_ends(bad: dict[str, Any], named: str) -> None:
    good = {"address": "localhost:1", "method": METHOD, "requests": [b""], "rate": 1.0}
    with pytest.raises(ValueError, match=named):
        Load(**{**good, "seconds": 1.0, **bad})


def test_moments_are_seeded_and_as_many_as_the_rate_says() -> None:
    one, same, other = (
        Load("[::1]:1", METHOD, [b""], rate=2000.0, seconds=5.0, seed=seed).moments()
        for seed in (1, 1, 2)
    )
    assert one.tolist() == same.tolist() != other.tolist()
    assert len(one) == pytest.approx(10_000, rel=0.05)
    assert (np.diff(one) >= 0).all()
    assert 0 <= one[0] <= one[-1] < 5


def test_calls_leave_though_none_is_answered(kitchen: Kitchen, address: str) -> None:
    kitchen.open.clear()
    outcome = send(Load(address, METHOD, [b"yes"], rate=100, seconds=1, deadline_s=1.5))
    assert len(outcome.codes) == pytest.approx(100, abs=40)
    assert set(outcome.codes) == {DEADLINE}
    assert outcome.goodput == 0


def test_each_call_is_counted_once_by_how_it_ended(address: str) -> None:
    outcome = send(Load(address, METHOD, [b"yes", b"no", b"yes"], rate=90, seconds=1))
    count = len(outcome.codes)
    assert (outcome.codes == REFUSED).sum() == count // 3 + (count % 3 == 2)
    assert outcome.share(OK) + outcome.share(REFUSED) == pytest.approx(1)
    assert outcome.share(NOT_SENT) == 0
    assert (outcome.latencies_s >= outcome.lag_s).all()


def test_a_latency_counts_from_when_the_call_was_due() -> None:
    codes, latencies = np.array([OK, OK, REFUSED]), np.array([0.1, 0.3, 0.002])
    outcome = Outcome(1.0, codes, latencies, np.array([0.0, 0.2, 0.0]), asked_s=2.0)
    assert outcome.latency_ms(OK, 50) == pytest.approx(200)
    assert outcome.latency_ms(REFUSED, 99) == pytest.approx(2)
    assert np.isnan(outcome.latency_ms(DEADLINE, 99))
    assert outcome.goodput == 1.0  # two answers within the two seconds that were asked for


def test_a_bundle_is_measured_at_every_rate_and_all_calls_are_answered_or_refused(
    tmp_path: Path,
) -> None:
    bundle = toy_bundle(tmp_path / "toy", entities=1200, relations=4).path
    flags = ["--rounds", "1", "--seconds", "0.2", "--spare-s", "2"]
    flags += ["--records", str(tmp_path / "records")]
    done = CliRunner().invoke(load.app, ["measure", str(bundle), *flags])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "records/toy.json").read_text("utf-8"))
    assert [one["share"] for one in record["rates"]] == list(load.SHARES)
    for one in record["rates"]:
        assert one["otherwise"] == 0
        assert one["goodput_per_s"] > 0
    write_page([record], tmp_path)
    assert "| 200% |" in (tmp_path / "load.md").read_text("utf-8")
    assert (tmp_path / "load.svg").stat().st_size > 0


def test_the_bars_are_what_the_page_says_of_them() -> None:
    rates = [
        {"share": share, "goodput_per_s": good, "accepted_ms": {"p99": p99}, "refused_ms": refused}
        for share, good, p99, refused in (
            (0.7, 70.0, 20.0, None),
            (1.25, 100.0, 50.0, {"p99": 4.0}),
            (2.0, 95.0, 50.0, {"p99": 7.0}),
        )
    ]
    found = bars({"rates": rates})
    assert found == {"goodput_share": 0.95, "refused_ms_p99": 7.0, "accepted_p99_ratio": 2.5}


def test_the_page_is_that_of_the_records(tmp_path: Path) -> None:
    records = [json.loads(path.read_text("utf-8")) for path in sorted(load.RECORDS.glob("*.json"))]
    write_page(sorted(records, key=lambda record: record["entities"]), tmp_path)
    for name in ("load.md", "load.json"):
        assert (tmp_path / name).read_text("utf-8") == (load.HERE / name).read_text("utf-8")

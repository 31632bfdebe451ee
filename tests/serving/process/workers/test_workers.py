"""Several processes on one port: alike, replaced when they die, and added up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest

from mulde.bundle.facts.known_facts import KnownFacts
from mulde.client import Client, Connection
from mulde.errors import BundleError, Unreachable
from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.ranking import summarise
from serving.engine.engine import Engine
from tests.serving.test_server_models import ADMIN, tokens
from tests.support.server import ServerProcess, eventually, method_of_bytes, server
from tests.support.toy import Toy, toy_bundle

WORKERS = 2


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    root = tmp_path_factory.mktemp("models")
    (root / "toy").mkdir()
    toy_bundle(root / "toy/2", entities=700, relations=4, seed=2, version="2")
    return toy_bundle(root / "toy/1", entities=700, relations=4)


@pytest.fixture
def pair(toy: Toy, tmp_path: Path) -> Iterator[ServerProcess]:
    flags = ("--workers", str(WORKERS), "--pin", "toy=1")
    key_file = ("--api-key-file", str(tokens(tmp_path)))
    with server(toy.path.parent.parent, *flags, *key_file, log=tmp_path / "log") as process:
        yield process


def fresh(process: ServerProcess, attempts: int = 1) -> Client:
    """A client with a connection of its own, so that the kernel may pick any worker."""
    connection = Connection(process.address, token=ADMIN, attempts=attempts)
    return Client(connection)


def ask(process: ServerProcess) -> str:
    with fresh(process) as client:
        return client.predict_tails("Q0000001", "P0", k=3).model


def counted(process: ServerProcess) -> float:
    """Predictions that the metrics tell; each worker counts twice a second."""
    return process.metric("mulde_requests_total", method="PredictTails")


def test_connections_are_spread_over_the_workers(pair: ServerProcess) -> None:
    assert len(pair.children()) == WORKERS
    for _ in range(30):
        assert ask(pair) == "toy/1"
    eventually(lambda: counted(pair) == 30)
    assert pair.metric("mulde_model_info", name="toy") == WORKERS


def test_a_worker_that_dies_is_replaced_and_its_counts_stay(pair: ServerProcess) -> None:
    for _ in range(10):
        ask(pair)
    eventually(lambda: counted(pair) == 10)
    before = pair.children()
    os.kill(before[0], signal.SIGKILL)

    eventually(lambda: replaced(pair, before[0]))
    eventually(lambda: any(line["event"] == "worker replaced" for line in pair.log()))
    for _ in range(10):
        assert ask(pair) == "toy/1"
    eventually(lambda: counted(pair) == 20)
    assert pair.get("/readyz")[0] == 200


def test_killing_a_worker_under_load_only_breaks_its_own_connections(pair: ServerProcess) -> None:
    stop, wrong = threading.Event(), list[object]()
    with Engine.open(Path(pair_path(pair)) / "toy/1") as engine:
        truth = engine.predict(1, 0, 3, exclude_known=True).scores.tolist()

    def run() -> None:
        with fresh(pair, attempts=5) as client:
            while not stop.is_set():
                try:
                    scores = client.predict_tails("Q0000001", "P0", k=3).scores.tolist()
                except Unreachable:
                    continue
                if scores != truth:
                    wrong.append(scores)

    callers = [threading.Thread(target=run) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(3):
            victim = pair.children()[0]
            os.kill(victim, signal.SIGKILL)
            eventually(partial(replaced, pair, victim))
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert wrong == []


def test_a_replacement_takes_no_connection_before_it_has_loaded(tmp_path: Path) -> None:
    """Each call has a connection of its own, and is not tried again."""
    big = toy_bundle(tmp_path / "toy", entities=120_000, dimension=32)
    with server(big.path, "--workers", str(WORKERS), log=tmp_path / "log") as process:
        victim = process.children()[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in process.children())
        answers = 0
        while not any(line["event"] == "worker replaced" for line in process.log()):
            assert ask(process) == "toy/1"
            answers += 1
        assert answers > 10


def replaced(process: ServerProcess, gone: int) -> bool:
    """Whether another worker is there for one that is gone."""
    now = process.children()
    return len(now) == WORKERS and gone not in now


def pair_path(process: ServerProcess) -> str:
    """The folder that a server serves, from its command line."""
    command = list(process.command)
    return command[command.index("serve") + 1]


def test_a_change_holds_for_all_workers_or_none(pair: ServerProcess) -> None:
    with fresh(pair) as client:
        client.load_model("toy", "2")
        assert {ask(pair) for _ in range(20)} == {"toy/2"}
        damaged = Path(pair_path(pair)) / "toy/3"
        toy_bundle(damaged, version="3")
        (damaged / "known.bin").write_bytes(b"")
        with pytest.raises(BundleError, match=r"known\.bin"):
            client.load_model("toy", "3")
        assert {ask(pair) for _ in range(20)} == {"toy/2"}
    os.kill(pair.children()[1], signal.SIGKILL)
    eventually(lambda: any(line["event"] == "worker replaced" for line in pair.log()))
    assert {ask(pair) for _ in range(20)} == {"toy/2"}


def test_workers_end_when_the_supervisor_is_killed(toy: Toy, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    flags = ("--workers", str(WORKERS), "--pin", "toy=1")
    root, env = toy.path.parent.parent, {"TMPDIR": str(scratch)}
    with server(root, *flags, log=tmp_path / "log", env=env) as process:
        workers = process.children()
        process.process.kill()
        process.process.wait()
        eventually(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers))
    assert not list(scratch.iterdir())


def test_metrics_files_of_dead_workers_are_merged(toy: Toy, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    flags = ("--workers", "2", "--pin", "toy=1")
    root, env = toy.path.parent.parent, {"TMPDIR": str(scratch)}
    with server(root, *flags, log=tmp_path / "log", env=env) as process:
        for _ in range(3):
            for _ in range(5):
                ask(process)
            victim = process.children()[0]
            time.sleep(1)  # until all calls are counted
            os.kill(victim, signal.SIGKILL)
            eventually(partial(replaced, process, victim))
            eventually(lambda: "2 of 2" in process.get("/readyz")[1])
        pids = {path.stem.rpartition("_")[2] for path in scratch.rglob("*.db")}
        assert pids <= {"0", *map(str, process.children())}
        assert counted(process) == 15


def test_nothing_is_left_behind(toy: Toy, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    root = toy.path.parent.parent
    with server(
        root, "--workers", "2", "--pin", "toy=1", log=tmp_path / "log", env={"TMPDIR": str(scratch)}
    ) as process:
        assert list(scratch.iterdir())
        workers = process.children()
        assert process.terminate() == 0
    assert not list(scratch.iterdir())
    assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers)


def test_the_mrr_through_two_workers_with_batching_is_the_offline_one(
    toy: Toy, pair: ServerProcess
) -> None:
    """Every fact of the toy, both directions, ranked by six callers at once."""
    triples = toy.triples[:600].astype(np.int64)
    heads, relations, tails = triples.T
    task = RankingTask(
        entity=np.concatenate([heads, tails]),
        relation=np.concatenate([relations, relations + 4]),
        target=np.concatenate([tails, heads]),
        known=KnownFacts.build(toy.triples, 700, 4),
    )
    with Engine.open(toy.path) as engine:
        offline = task.quality(engine.scores)
    tail_ranks, head_ranks = np.zeros(600), np.zeros(600)

    def rank(part: slice) -> None:
        with fresh(pair, attempts=4) as client:
            scores = client.score(
                [f"Q{row:07d}" for row in heads[part]],
                [f"P{row}" for row in relations[part]],
                [f"Q{row:07d}" for row in tails[part]],
                ranks=True,
            )
        tail_ranks[part], head_ranks[part] = scores.tail_ranks, scores.head_ranks

    callers = [
        threading.Thread(target=rank, args=(slice(start, start + 100),))
        for start in range(0, 600, 100)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert summarise(tail_ranks, head_ranks) == offline


def test_predictions_through_batching_rank_targets_as_offline(
    toy: Toy, pair: ServerProcess
) -> None:
    """Ranks read off PredictTails, many single queries at once, so that batches form."""
    triples = toy.triples[:240]
    with Engine.open(toy.path) as engine:
        expected = engine.predict(triples[:, 0], triples[:, 1], 50, exclude_known=True)
    found: dict[int, tuple[list[int], list[float]]] = {}

    def run(start: int) -> None:
        with fresh(pair, attempts=4) as client:
            for place in range(start, 240, 8):
                head, relation, _ = triples[place]
                answers = client.predict_tails(f"Q{head:07d}", f"P{relation}", k=50)
                found[place] = answers.rows.tolist(), answers.scores.tolist()

    callers = [threading.Thread(target=run, args=(start,)) for start in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for place in range(240):
        part = slice(50 * place, 50 * place + 50)
        assert found[place] == (expected.rows[part].tolist(), expected.scores[part].tolist())
    eventually(lambda: pair.metric("mulde_batch_queries_sum") >= 240)
    runs = pair.metric("mulde_batch_queries_count")
    assert pair.metric("mulde_batch_queries_sum") > runs  # some callers shared a run


def test_a_worker_alone_still_tells_its_health(pair: ServerProcess) -> None:
    with grpc.insecure_channel(pair.address) as channel:
        reply = method_of_bytes(channel, "/grpc.health.v1.Health/Check")(b"")
    assert reply == b"\x08\x01"

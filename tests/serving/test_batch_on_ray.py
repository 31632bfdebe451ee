"""A batch job on a Ray cluster gives the bytes of one process, also when a machine is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.test_batch import questions, write
from tests.support.toy import Toy, toy_bundle

pytest.importorskip("ray", reason="needs mulde[ray]")
E, R, QUESTIONS, SHARD = 300, 3, 40_000, 1000
"""Answers of a shard are large enough to stay with the machine that found them, until asked for."""
DEADLINE_S = 240


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return toy_bundle(tmp_path_factory.mktemp("batch") / "toy", entities=E, relations=R)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one machine with one core; tests add others."""
    from ray.cluster_utils import Cluster

    # Ray's own 15 starves its processes where others use all cores of this machine.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    started = Cluster(initialize_head=True, head_node_args=node())
    try:
        yield started
    finally:
        started.shutdown()


def node() -> dict[str, Any]:
    return {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}


def command(toy: Toy, source: Path, out: Path, *more: object) -> list[str]:
    arguments = [source, "-o", out, "--bundle", toy.path, "--shard", SHARD, *more]
    return [sys.executable, "-m", "mulde.cli", "predict", *map(str, arguments)]


def shards_done(out: Path) -> int:
    return len(list(out.with_name(f".{out.name}.job").glob("0*.json")))


@pytest.mark.timeout(900)
def test_a_machine_that_is_killed_changes_no_byte(toy: Toy, tmp_path: Path, cluster: Any) -> None:
    """Two machines; one is killed while it answers shards and holds answers of others."""
    second = cluster.add_node(**node() | {"num_cpus": 2})
    cluster.wait_for_nodes()
    source = write(tmp_path / "q.tsv", [*questions(QUESTIONS), ("nobody", "P0", "?")])
    alone, out = tmp_path / "alone.tsv", tmp_path / "out.tsv"
    rest = ["--skip-unknown", tmp_path / "alone.skipped", "--workers", 1]
    subprocess.run(command(toy, source, alone, *rest), check=True, timeout=DEADLINE_S)

    rest = ["--skip-unknown", tmp_path / "out.skipped", "--ray", cluster.address]
    with subprocess.Popen(command(toy, source, out, *rest), stderr=subprocess.PIPE) as job:
        end = time.monotonic() + DEADLINE_S
        while shards_done(out) < 5:
            assert job.poll() is None, job.stderr and job.stderr.read().decode()
            assert time.monotonic() < end
            time.sleep(0.01)
        cluster.remove_node(second, allow_graceful=False)
        done = shards_done(out)
        _, told = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 0, told.decode()
    assert done < QUESTIONS / SHARD, "the job was over before the machine was killed"
    assert out.read_bytes() == alone.read_bytes()
    skipped = (tmp_path / "out.skipped").read_bytes()
    assert skipped == (tmp_path / "alone.skipped").read_bytes()


def test_an_address_without_a_cluster_is_refused(toy: Toy, tmp_path: Path) -> None:
    source = write(tmp_path / "q.tsv", questions(10))
    job = subprocess.run(
        command(toy, source, tmp_path / "out.tsv", "--ray", "auto"),
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert job.returncode == 1
    assert b"--ray: expected the address of a Ray cluster" in job.stderr

"""Whatever is killed at any moment goes on or starts clean, and ends as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.server import ROOT, environment
from tests.torture.tools import Tally

LONG = [pytest.mark.torture, pytest.mark.timeout(3600)]


def may_mount() -> bool:
    """Whether a small disk can be had, which takes root and a kernel that lets it."""
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True)
        return (
            made.returncode == 0
            and subprocess.run(["umount", folder], capture_output=True).returncode == 0
        )


needs_mount = pytest.mark.skipif(not may_mount(), reason="only root may mount a small disk")
pytestmark = pytest.mark.timeout(900)  # hundreds of processes, on whatever machine
JOBS = ["training", "export", "download", "split", "predict"]
NEW_BUNDLES = ["export anew", "calibrate", "shrink", "rules", "map"]
SLOWER = [pytest.param(job, marks=LONG) for job in ("update anew", "fit")]


@pytest.mark.parametrize("kills", [6, pytest.param(300, marks=LONG)])
@pytest.mark.parametrize("job", [*JOBS, "update", *NEW_BUNDLES, *SLOWER])
def test_a_job_that_is_killed_again_and_again_ends_as_one_that_was_not(
    job: str, kills: int, tmp_path: Path, generator: np.random.Generator, tally: Tally
) -> None:
    """Nothing half-written is opened on the way, and no file is left over at the end."""
    toll = toll_of(job, tmp_path, generator, kills, "kill")
    assert toll["kills"] >= kills
    tally(f"killed: {job}", kills=toll["kills"], runs_that_ended_alike=toll["runs"])


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=LONG)])
@pytest.mark.parametrize("job", JOBS)
def test_a_job_whose_files_may_not_grow_says_so_and_goes_on_when_they_may(
    job: str, count: int, tmp_path: Path, generator: np.random.Generator, tally: Tally
) -> None:
    toll = toll_of(job, tmp_path, generator, count, "limit")
    tally(f"no room: {job}", refusals=toll["kills"], runs_that_ended_alike=toll["runs"])


@needs_mount
@pytest.mark.parametrize("count", [3, pytest.param(100, marks=LONG)])
@pytest.mark.parametrize("job", [*JOBS, pytest.param("update", marks=LONG)])
def test_a_job_on_a_full_disk_says_so_loses_nothing_and_goes_on_when_there_is_room(
    job: str, count: int, tmp_path: Path, generator: np.random.Generator, tally: Tally
) -> None:
    toll = toll_of(job, tmp_path, generator, count, "disk")
    tally(f"full disk: {job}", refusals=toll["kills"], runs_that_ended_alike=toll["runs"])


@pytest.mark.parametrize("job", JOBS)
def test_a_job_that_may_not_write_says_so_and_goes_on_when_it_may(
    job: str, tmp_path: Path, generator: np.random.Generator, tally: Tally
) -> None:
    toll = toll_of(job, tmp_path, generator, 3, "read-only")
    tally(f"read-only: {job}", refusals=toll["kills"], runs_that_ended_alike=toll["runs"])


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=LONG)])
def test_a_server_killed_while_it_swaps_leaves_whole_versions_and_the_next_one_serves_them(
    kills: int, tmp_path: Path, generator: np.random.Generator, tally: Tally
) -> None:
    """Callers ask all the while, and a version is replaced; each answer is one of its version."""
    told = printed("tests.torture.swaps", tmp_path, generator.integers(2**31), kills)
    assert told["kills"] == kills
    assert told["while_it_listened"] > 0
    tally("killed: swapping server", **told)


def toll_of(
    job: str, work: Path, generator: np.random.Generator, count: int, harm: str
) -> dict[str, int]:
    """What tests/torture/victims.py has done."""
    return printed("tests.torture.victims", job, work, generator.integers(2**31), count, harm)


def printed(module: str, *arguments: object) -> dict[str, int]:
    """What a program of this folder says that it has done."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    toll: dict[str, int] = json.loads(done.stdout)
    return toll

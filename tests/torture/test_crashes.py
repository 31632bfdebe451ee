"""Whatever is killed at any moment goes on or starts clean, and ends as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.serving.process import ROOT, environment
from tests.torture.tools import Tally

LONG = [pytest.mark.torture, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("kills", [12, pytest.param(300, marks=LONG)])
@pytest.mark.parametrize("job", ["training", "export", "download", "split", "predict"])
def test_a_job_that_is_killed_again_and_again_ends_as_one_that_was_not(
    job: str, kills: int, tmp_path: Path, generator: np.random.Generator, tally: Tally
) -> None:
    """Nothing half-written is opened on the way, and no file is left over at the end."""
    seed = str(generator.integers(2**31))
    command = [sys.executable, "-m", "tests.torture.victims", job, str(tmp_path), seed, str(kills)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    toll = json.loads(done.stdout)
    assert toll["kills"] >= kills
    tally(f"killed: {job}", kills=toll["kills"], runs_that_ended_alike=toll["runs"])

"""Commands that make a bundle, killed just after they published it and run again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mulde.bundle.files import MANIFEST
from tests.support.graph_bundle import write_graph_and_bundle
from tests.support.server import environment

COMMANDS: dict[str, tuple[str, ...]] = {
    "calibrate": ("--data", "data"),
    "shrink": ("--data", "data", "--precision", "int8"),
    "rules": ("--data", "data", "--facts"),
    "map": (),
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data``, a graph; ``bundle``, a toy of this graph."""
    work = tmp_path_factory.mktemp("work")
    write_graph_and_bundle(work)
    return work


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_killed_just_after_it_published_finds_its_own_bundle(
    work: Path, command: str
) -> None:
    out = work / command
    line = [sys.executable, "-m", "mulde.cli", command, "bundle", "--out", command]
    line += COMMANDS[command]
    first = subprocess.Popen(line, cwd=work, env=environment(), stderr=subprocess.PIPE)
    with first:
        while not out.exists() and first.poll() is None:
            time.sleep(0.001)
        first.kill()
    before = (out / MANIFEST).read_bytes()
    again = subprocess.run(line, cwd=work, env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (out / MANIFEST).read_bytes() == before

"""What the tests of this folder share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import ROOT, environment

Tally = Callable[..., None]
Opener = Callable[[Path], str]


@contextmanager
def opening() -> Iterator[Opener]:
    """What opening and using a bundle says, each in a process of its own with bounded memory."""
    command = [sys.executable, "-W", "error", "-m", "tests.torture.opener", "each"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, told = process.stdin, process.stdout

        def opened(folder: Path) -> str:
            print(folder, file=asked, flush=True)
            return str(json.loads(told.readline()))

        yield opened
        asked.close()

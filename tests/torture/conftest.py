"""What crashes, full disks and bad bytes do to the product: short forms here, long by the marker.

A test with the marker ``torture`` is left out unless it is asked for; ``make torture SEED=7`` runs
all of them. Whatever is random comes from ``generator``, which is seeded with
``MULDE_TORTURE_SEED`` and the name of the test. What was done is told to ``tally`` and printed at
the end, one line for each promise.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.targets import GOLDEN
from tests.support.server import ServerProcess, server
from tests.support.toy import toy_bundle
from tests.torture.tools import Opener, Tally, opening

SEED = int(os.environ.get("MULDE_TORTURE_SEED", "1"))
_LIMITS = {"MULDE_LIMITS__MAX_BATCH_SIZE": "16", "MULDE_LIMITS__MAX_K": "20"}
_TALLY: dict[str, dict[str, int | float]] = {}


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers of this test and seed, whatever ran before."""
    return np.random.default_rng([SEED, zlib.crc32(request.node.name.encode())])


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of the golden bundle with small limits."""
    folder = tmp_path_factory.mktemp("counter")
    with server(GOLDEN, log=folder / "log", env=_LIMITS) as process:
        yield process


@pytest.fixture
def tally() -> Tally:
    """``tally("training", kills=1, slowest_s=0.2)``: ints add up, of floats the largest stays."""

    def add(promise: str, **figures: int | float) -> None:
        line = _TALLY.setdefault(promise, {})
        for name, value in figures.items():
            former = line.get(name, 0)
            line[name] = former + value if isinstance(value, int) else max(former, value)

    return add


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that is not changed."""
    return toy_bundle(tmp_path_factory.mktemp("bundles") / "toy").path


@pytest.fixture
def copy(pristine: Path, tmp_path: Path) -> Path:
    """One to change."""
    return Path(shutil.copytree(pristine, tmp_path / "toy"))


@pytest.fixture(scope="session")
def opener() -> Iterator[Opener]:
    """See ``opening``."""
    with opening() as opened:
        yield opened


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _TALLY:
        return
    terminalreporter.section(f"torture, seed {SEED}")
    width = max(map(len, _TALLY))
    for promise, line in sorted(_TALLY.items()):
        figures = ", ".join(f"{name.replace('_', ' ')} {_text(line[name])}" for name in line)
        terminalreporter.write_line(f"{promise:{width}}  {figures}")


def _text(value: int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"

"""One server for all tests that do not change it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mulde.client import Client
from serving.engine.engine import Engine
from tests.support.server import ServerProcess, server
from tests.support.toy import Toy, toy_bundle

E, R = 1200, 4
"""Entities and relations of the bundle."""


def ids(rows: np.ndarray) -> list[str]:
    """Names of entities, by row."""
    return [f"Q{row:07d}" for row in rows]


@pytest.fixture(scope="session")
def served_toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return toy_bundle(tmp_path_factory.mktemp("served") / "toy", entities=E, relations=R)


@pytest.fixture(scope="session")
def served(served_toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    with server(served_toy.path, "--log-requests", log=log) as process:
        yield process


@pytest.fixture(scope="session")
def local(served_toy: Toy) -> Engine:
    """The engine of the served bundle, in this process."""
    return Engine.open(served_toy.path)


@pytest.fixture
def client(served: ServerProcess) -> Iterator[Client]:
    with Client(served.address) as connected:
        yield connected

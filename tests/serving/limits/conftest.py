"""A server with small limits, so that each can be passed."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.serving.limits.calls import LIMITS, E, R
from tests.support.server import ServerProcess, server
from tests.support.toy import toy_bundle


@pytest.fixture(scope="package")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("narrow")
    toy = toy_bundle(folder / "toy", entities=E, relations=R)
    with server(toy.path, log=folder / "log", env=LIMITS) as process:
        yield process


@pytest.fixture
def channel(narrow: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(narrow.address) as opened:
        yield opened

"""One gateway before the server that all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway import GatewayProcess, gateway
from tests.support.server import ServerProcess


@pytest.fixture(scope="session")
def web(served: ServerProcess) -> Iterator[GatewayProcess]:
    with gateway(served.address) as process:
        yield process

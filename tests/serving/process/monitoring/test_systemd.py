"""A service manager hears when the server is ready, alive and stopping."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from serving.process.settings_sources import read_settings
from tests.support.server import ROOT, server
from tests.support.toy import Toy


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_server_tells_its_service_manager(
    served_toy: Toy, tmp_path: Path, workers: str
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        flags = ("--workers", workers)
        env = {"NOTIFY_SOCKET": str(path)}
        with server(served_toy.path, *flags, log=tmp_path / "log", env=env) as process:
            assert manager.recv(64) == b"READY=1"
            assert manager.recv(64) == b"WATCHDOG=1"
            assert process.terminate() == 0
        heard = b""
        while heard in (b"", b"WATCHDOG=1"):
            heard = manager.recv(64)
        assert heard == b"STOPPING=1"


def test_the_settings_file_of_the_unit_is_one() -> None:
    settings = read_settings({}, ROOT / "deploy" / "mulde.toml", {})
    assert settings.models.dir == Path("/var/lib/mulde/models")

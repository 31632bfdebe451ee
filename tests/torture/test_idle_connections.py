"""Idle connections that come back again and again, where there are few descriptors."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path
from typing import Self

import grpc
import pytest

from mulde.client import Client, Connection
from tests.support.server import server
from tests.torture.siege import Siege, descriptors
from tests.torture.tools import Tally

LIMIT, IDLE = 1024, 1200
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


class Idlers:
    """Sockets that speak HTTP/2 once; those that were closed are opened again."""

    def __init__(self, port: int) -> None:
        self._where = ("127.0.0.1", port)
        self._open: list[socket.socket] = []
        self.opened = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._open:
            one.close()

    def fill(self) -> None:
        """Open connections until there are as many as meant, or the server refuses one."""
        self._open = [one for one in self._open if not _is_closed(one)]
        while len(self._open) < IDLE and self._has_opened_one():
            self.opened += 1

    def _has_opened_one(self) -> bool:
        try:
            self._open.append(socket.create_connection(self._where, 5))
            self._open[-1].sendall(PREFACE)
        except OSError:
            return False
        self._open[-1].setblocking(False)
        return True


def _is_closed(one: socket.socket) -> bool:
    try:
        while one.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    one.close()
    return True


@pytest.mark.parametrize("seconds", [5.0, pytest.param(60.0, marks=[pytest.mark.torture])])
def test_old_and_new_callers_and_probes_are_answered_beside_idle_connections(
    pristine: Path, tmp_path: Path, seconds: float, tally: Tally
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    new, most = 0, 0
    try:
        with (
            server(pristine, log=tmp_path / "log", enter=few_descriptors) as process,
            Idlers(process.ready["grpc_port"]) as idlers,
            Siege(process) as honest,
        ):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                idlers.fill()
                most = max(most, descriptors(process.process.pid))
                assert process.get("/readyz")[0] == 200
                with Client(Connection(process.address, attempts=5), timeout_s=10) as client:
                    assert len(client.models()) == 1
                new += 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    tally(
        "idle",
        opened=idlers.opened,
        new_callers=new,
        honest=len(honest.codes),
        slowest_s=honest.slowest_s,
    )
    assert set(honest.codes) == {grpc.StatusCode.OK}
    assert most < LIMIT
    assert idlers.opened > IDLE

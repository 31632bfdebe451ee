"""Idle connections up to the limit of descriptors keep neither probes nor callers out."""

from __future__ import annotations

import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mulde.client import Client, Connection
from tests.support.certificates import Authority
from tests.support.server import ServerProcess, run_mulde, server
from tests.support.toy import Toy

LIMIT, IDLE = 1024, 1200
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    """Let this process open all the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def idle_connections(process: ServerProcess, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """Connections that speak HTTP/2 and then say nothing."""
    with ExitStack() as stack:
        for _ in range(IDLE):
            try:
                where = ("127.0.0.1", process.ready["grpc_port"])
                caller: socket.socket = socket.create_connection(where, 5)
                stack.callback(caller.close)
                if tls is not None:
                    caller = tls.wrap_socket(caller, server_hostname="localhost")
                    stack.callback(caller.close)
                caller.sendall(PREFACE)
            except OSError:  # the server closed it
                continue
        yield


def check_that_it_answers(process: ServerProcess, old: Client, new: Connection) -> None:
    """Probes, an old connection and a new one are answered in time."""
    start = time.monotonic()
    assert process.get("/readyz")[0] == 200
    assert time.monotonic() - start < 2
    assert len(old.models()) == 1
    with Client(new, timeout_s=10) as client:
        assert len(client.models()) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_idle_connections_keep_out_neither_probes_nor_callers(
    served_toy: Toy, tmp_path: Path, workers: str
) -> None:
    flags = ("--workers", workers)
    with (
        server(served_toy.path, *flags, log=tmp_path / "log", enter=few_descriptors) as process,
        Client(process.address, timeout_s=10) as old,
    ):
        assert len(old.models()) == 1
        with idle_connections(process):
            check_that_it_answers(process, old, Connection(process.address, attempts=5))
            time.sleep(3)
            check_that_it_answers(process, old, Connection(process.address, attempts=5))


def test_idle_tls_connections_of_callers_without_a_token_do_neither(
    served_toy: Toy, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("server")
    flags = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    trusting = ssl.create_default_context(cafile=authority.path)
    trusting.set_alpn_protocols(["h2"])
    with server(served_toy.path, *flags, log=tmp_path / "log", enter=few_descriptors) as process:
        honest = Connection(process.address, ca=authority.path, attempts=5)
        with Client(honest, timeout_s=10) as old:
            assert len(old.models()) == 1
            with idle_connections(process, trusting):
                check_that_it_answers(process, old, honest)


def test_the_soft_limit_is_raised(served_toy: Toy, tmp_path: Path) -> None:
    def enter() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))

    with server(served_toy.path, log=tmp_path / "log", enter=enter) as process:
        limits = Path(f"/proc/{process.process.pid}/limits").read_text("ascii")
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["4096", "4096"]


def test_more_connections_than_descriptors_are_refused_at_the_start(served_toy: Toy) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    env = {"MULDE_SERVER__MAX_CONNECTIONS": str(most)}
    done = run_mulde("serve", str(served_toy.path), "--check", **env)
    assert done.returncode == 1
    assert f"server.max_connections: expected at most {most - 256}" in done.stderr

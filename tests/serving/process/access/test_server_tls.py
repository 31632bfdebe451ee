"""TLS and mutual TLS: who is let in, who is not, and certificates renewed while serving."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mulde.client import Client, Connection
from mulde.errors import Unreachable
from tests.support.certificates import Authority, Pair
from tests.support.server import ServerProcess, eventually, run_mulde, server
from tests.support.toy import toy_bundle


@dataclass
class Secured:
    """A server with TLS, and those who may sign for it and for its callers."""

    process: ServerProcess
    authority: Authority
    callers: Authority
    cert: Path
    key: Path

    def connect(self, ca: Path | None = None, pair: Pair | None = None) -> Client:
        cert, key = (pair.cert, pair.key) if pair else (None, None)
        where = Connection(
            self.process.address, ca=ca or self.authority.path, cert=cert, key=key, attempts=1
        )
        return Client(where, timeout_s=10)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("bundle") / "toy").path


def put(pair: Pair, cert: Path, key: Path) -> None:
    """Replace the files that the server reads."""
    shutil.copy(pair.key, key)
    shutil.copy(pair.cert, cert)


def serve_tls(bundle: Path, folder: Path, pair_days: float, *, mutual: bool) -> Iterator[Secured]:
    authority, callers = Authority(folder, "authority"), Authority(folder, "callers")
    cert, key = folder / "server.crt", folder / "server.key"
    put(authority.issue("first", end_days=pair_days), cert, key)
    flags = ["--tls-cert", str(cert), "--tls-key", str(key)]
    flags += ["--tls-client-ca", str(callers.path)] if mutual else []
    with server(bundle, *flags, log=folder / "log") as process:
        yield Secured(process, authority, callers, cert, key)


@pytest.fixture
def tls(bundle: Path, tmp_path: Path) -> Iterator[Secured]:
    yield from serve_tls(bundle, tmp_path, 1, mutual=False)


@pytest.fixture
def mutual(bundle: Path, tmp_path: Path) -> Iterator[Secured]:
    yield from serve_tls(bundle, tmp_path, 1, mutual=True)


def answers(client: Client) -> bool:
    with client:
        return len(client.models()) == 1


def test_a_caller_must_trust_the_authority_of_the_server(tls: Secured) -> None:
    assert answers(tls.connect())
    with pytest.raises(Unreachable):
        answers(tls.connect(ca=tls.callers.path))
    with pytest.raises(Unreachable):
        answers(Client(Connection(tls.process.address, attempts=1)))
    assert answers(tls.connect())


def test_a_renewed_certificate_is_used_without_a_restart(tls: Secured) -> None:
    renewed = Authority(tls.cert.parent, "renewed")
    with tls.connect() as before:
        assert len(before.models()) == 1
        put(renewed.issue("second"), tls.cert, tls.key)

        def is_renewed() -> bool:
            try:
                return answers(tls.connect(ca=renewed.path))
            except Unreachable:
                return False

        eventually(is_renewed)
        with pytest.raises(Unreachable):
            answers(tls.connect())
        assert len(before.models()) == 1  # an open connection stays


def test_a_damaged_renewal_leaves_the_former_certificate(tls: Secured) -> None:
    tls.cert.write_text("not a certificate")

    def is_told() -> bool:
        assert answers(tls.connect())
        return any("certificate not usable" in line["event"] for line in tls.process.log())

    eventually(is_told)


def test_an_expired_certificate_is_not_trusted(bundle: Path, tmp_path: Path) -> None:
    for expired in serve_tls(bundle, tmp_path, -0.5, mutual=False):
        with pytest.raises(Unreachable):
            answers(expired.connect())
        put(expired.authority.issue("fresh"), expired.cert, expired.key)

        def is_fresh(secured: Secured = expired) -> bool:
            try:
                return answers(secured.connect())
            except Unreachable:
                return False

        eventually(is_fresh)


def test_mutual_tls_asks_callers_for_a_certificate(mutual: Secured) -> None:
    assert answers(mutual.connect(pair=mutual.callers.issue("caller")))
    for other in (
        None,
        mutual.authority.issue("wrong authority"),
        mutual.callers.issue("expired", start_days=-2, end_days=-1),
    ):
        with pytest.raises(Unreachable):
            answers(mutual.connect(pair=other))
    assert answers(mutual.connect(pair=mutual.callers.issue("another")))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--tls-cert", "server.crt"], "tls"),
        (["--tls-client-ca", "ca.pem"], "tls"),
        (["--tls-cert", "missing.crt", "--tls-key", "missing.key"], "tls.cert"),
        (["--api-key-file", "missing"], "auth.api_key_file"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start(
    bundle: Path, flags: list[str], named: str
) -> None:
    for more in (["--check"], ["--grpc-port", "0", "--metrics-port", "0"]):
        done = run_mulde("serve", str(bundle), *flags, *more)
        assert done.returncode == 1
        assert named in done.stderr
        assert "Traceback" not in done.stderr


def test_a_key_of_another_certificate_stops_the_start(bundle: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    one, other = authority.issue("one"), authority.issue("other")
    flags = ("--tls-cert", str(one.cert), "--tls-key", str(other.key))
    done = run_mulde("serve", str(bundle), *flags, "--check")
    assert done.returncode == 1
    assert "tls.cert" in done.stderr

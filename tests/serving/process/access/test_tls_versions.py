"""TLS against those in between: other hosts, old protocols, weak ciphers; renewed everywhere."""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mulde.client import Client, Connection
from mulde.errors import Unauthenticated, Unreachable
from tests.serving.process.access.test_server_tls import Secured, answers, put
from tests.support.certificates import Authority, Pair
from tests.support.server import eventually, server
from tests.support.toy import toy_bundle

OLD = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]
NEW = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
WEAK = ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "aNULL", "eNULL", "PSK"]
TOKEN = "read-token-0123456789"


def serve_tls(folder: Path, pair: Pair, authority: Authority, *flags: str) -> Iterator[Secured]:
    toy = toy_bundle(folder / "toy")
    cert, key = folder / "served.crt", folder / "served.key"
    put(pair, cert, key)
    flags = ("--tls-cert", str(cert), "--tls-key", str(key), *flags)
    with server(toy.path, *flags, log=folder / "log") as process:
        yield Secured(process, authority, authority, cert, key)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    tokens = folder / "tokens"
    tokens.write_text(f"read {TOKEN}\n")
    authority = Authority(folder, "authority")
    pair = authority.issue("server")
    yield from serve_tls(folder, pair, authority, "--api-key-file", str(tokens))


def context(least: ssl.TLSVersion, most: ssl.TLSVersion, ciphers: str = "ALL") -> ssl.SSLContext:
    """A caller that would take anything, so that a refusal is the other side's."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols(["h2"])
    made.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the versions that we refuse
        made.minimum_version, made.maximum_version = least, most
    return made


def shake_hands(address: tuple[str, int], made: ssl.SSLContext) -> str | None:
    """The version that was agreed on."""
    with socket.create_connection(address, timeout=30) as plain, made.wrap_socket(plain) as secret:
        return secret.version()


def where(secured: Secured) -> tuple[str, int]:
    return secured.process.ready["host"], secured.process.ready["grpc_port"]


@pytest.mark.parametrize("version", NEW, ids=lambda version: version.name)
def test_new_versions_of_tls_are_spoken(tls: Secured, version: ssl.TLSVersion) -> None:
    agreed = shake_hands(where(tls), context(version, version))
    assert agreed == version.name.replace("_", ".")


@pytest.mark.parametrize("version", OLD, ids=lambda version: version.name)
def test_old_versions_of_tls_are_refused(
    tls: Secured, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    asking = context(version, version)
    assert shake_hands(old_server(tmp_path, version), asking) == version.name.replace("_", ".")
    with pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        shake_hands(where(tls), asking)
    assert "NO_PROTOCOLS_AVAILABLE" not in str(caught.value)  # that would be our own refusal


def old_server(folder: Path, version: ssl.TLSVersion) -> tuple[str, int]:
    """A server that still speaks an old version, once: so the caller above can."""
    pair = Authority(folder, "old").issue("old")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair.cert, pair.key)
    made.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version = made.maximum_version = version
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listening, listening.accept()[0] as plain, made.wrap_socket(plain, server_side=True):
            pass

    threading.Thread(target=answer, daemon=True).start()
    host, port = listening.getsockname()
    return str(host), int(port)


@pytest.mark.parametrize("cipher", WEAK)
def test_weak_ciphers_are_refused(tls: Secured, cipher: str) -> None:
    least = most = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shake_hands(where(tls), context(least, most, cipher))
    assert shake_hands(where(tls), context(least, most)) == "TLSv1.2"


def test_a_token_counts_over_tls_as_without(tls: Secured) -> None:
    known = Connection(tls.process.address, ca=tls.authority.path, token=TOKEN, attempts=1)
    assert answers(Client(known, timeout_s=60))
    for token in (None, TOKEN + "x"):
        other = Connection(tls.process.address, ca=tls.authority.path, token=token, attempts=1)
        with pytest.raises(Unauthenticated):
            answers(Client(other, timeout_s=60))


def test_no_token_is_sent_to_a_server_that_is_not_trusted(tls: Secured, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    where = Connection(tls.process.address, ca=other.path, token=TOKEN, attempts=1)
    with pytest.raises(Unreachable) as caught:
        answers(Client(where, timeout_s=60))
    assert TOKEN not in str(caught.value)


def test_a_certificate_of_another_host_is_not_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    foreign = authority.issue("foreign", host="another.example")
    for secured in serve_tls(tmp_path, foreign, authority):
        with pytest.raises(Unreachable):
            answers(secured.connect())
        put(authority.issue("own"), secured.cert, secured.key)
        eventually(partial(trusted, secured), timeout=60)


def test_all_workers_use_a_renewed_certificate(tmp_path: Path) -> None:
    authority, renewed = Authority(tmp_path, "authority"), Authority(tmp_path, "renewed")
    for secured in serve_tls(tmp_path, authority.issue("first"), authority, "--workers", "2"):
        assert trusted(secured, connections=6)
        put(renewed.issue("second"), secured.cert, secured.key)
        secured.authority = renewed
        eventually(partial(trusted, secured, connections=6), timeout=60)


def trusted(secured: Secured, connections: int = 1) -> bool:
    """Whether new connections are answered, whichever worker takes them."""
    try:
        return all(answers(secured.connect()) for _ in range(connections))
    except Unreachable:
        return False


def test_the_key_is_in_no_output(tls: Secured) -> None:
    secret = tls.key.read_text("ascii").splitlines()[1]
    tls.cert.write_text(tls.key.read_text("ascii"))  # a key where the certificate should be

    def is_told() -> bool:
        shake_hands(
            where(tls), context(NEW[0], NEW[1])
        )  # each new connection has the files looked at
        return any("certificate not usable" in line["event"] for line in tls.process.log())

    eventually(is_told, timeout=60)
    assert secret not in tls.process.raw_log
    assert secret not in tls.process.get("/metrics")[1]

"""Tokens, TLS, and a server that is away."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.gateway import gateway
from tests.support.server import eventually, run_mulde, server
from tests.support.toy import Toy

MODEL = "/v1/ListModels"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("read secret-of-a-reader-1234\n")
    path.chmod(0o600)
    return path


def test_tokens_are_passed_on(served_toy: Toy, tokens: Path, tmp_path: Path) -> None:
    flags = ("--api-key-file", str(tokens))
    bearer = {"authorization": "Bearer secret-of-a-reader-1234"}
    with server(served_toy.path, *flags, log=tmp_path / "log") as one, gateway(one.address) as web:
        assert web.send("/readyz")[0] == 200
        status, headers, body = web.send(MODEL)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert json.loads(body)["reason"] == "UNAUTHENTICATED"
        assert web.get(MODEL, authorization="Bearer wrong")[0] == 401
        assert web.get(MODEL, **bearer)[0] == 200
        status, problem = web.post("/v1/UnloadModel", {"name": "toy"}, **bearer)
        assert (status, problem["code"]) == (403, "PERMISSION_DENIED")


def test_a_server_that_is_away_is_a_503_and_recovers(served_toy: Toy, tmp_path: Path) -> None:
    with server(served_toy.path, log=tmp_path / "first") as first:
        port, address = first.ready["grpc_port"], first.address
    with gateway(address) as web:
        status, headers, body = web.send(MODEL)
        problem = json.loads(body)
        assert (status, problem["reason"], problem["code"]) == (503, "UNREACHABLE", "UNAVAILABLE")
        assert headers["retry-after"] == "1"
        assert web.send("/readyz")[0] == 503
        assert web.send("/livez")[0] == 200
        again = ("--grpc-port", str(port))
        with server(served_toy.path, *again, log=tmp_path / "second"):
            eventually(lambda: web.send(MODEL)[0] == 200)
        assert web.send(MODEL)[0] == 503


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--host", "0.0.0.0"), "host: expected a loopback address"),
        (("--tls-cert", "x.pem"), "--tls-cert and --tls-key together"),
        (("--cors", "example.org"), "cors: expected an origin"),
    ],
)
def test_what_would_be_open_is_refused(flags: tuple[str, ...], words: str) -> None:
    done = run_mulde("web", "--port", "0", *flags)
    assert done.returncode == 1
    assert words in done.stderr


def test_beyond_loopback_a_server_without_tokens_is_not_shown(
    served_toy: Toy, tmp_path: Path
) -> None:
    ca = Authority(tmp_path, "authority")
    pair = ca.issue("gateway")
    flags = ("--host", "0.0.0.0", "--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    with (
        server(served_toy.path, log=tmp_path / "log") as one,
        gateway(one.address, *flags) as web,
    ):
        context = ssl.create_default_context(cafile=str(ca.path))
        url = web.url.replace("0.0.0.0", "localhost") + MODEL[1:]
        for header, status in (({}, 401), ({"authorization": "Bearer any"}, 403)):
            request = urllib.request.Request(url, headers=header)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, context=context, timeout=10)
            with caught.value as error:
                assert error.code == status

"""A token file that cannot be used any more: the former tokens end, in log and readyz."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest

from mulde.client import Client, Connection
from mulde.errors import Unauthenticated
from mulde.v1 import model_pb2
from tests.support.server import ServerProcess, eventually, method_of_bytes, run_mulde, server
from tests.support.toy import Toy

TOKEN = "reader-0123456789abcdef"
KEEP_S = 3.0
SETTINGS = {"MULDE_AUTH__KEEP_TOKENS_S": str(KEEP_S)}


def answers(process: ServerProcess, token: str = TOKEN) -> bool:
    with Client(Connection(process.address, token=token, attempts=1)) as client:
        try:
            return len(client.models()) == 1
        except Unauthenticated:
            return False


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("loss", ["deleted", "garbled", "empty"])
def test_former_tokens_end_after_the_stated_time(
    served_toy: Toy, tmp_path: Path, loss: str, workers: str
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"read {TOKEN}\n")
    flags = ("--api-key-file", str(tokens), "--workers", workers)
    with server(served_toy.path, *flags, log=tmp_path / "log", env=SETTINGS) as process:
        assert answers(process)
        if loss == "deleted":
            tokens.unlink()
        else:
            tokens.write_text("" if loss == "empty" else "\x00rubbish")
        lost = time.monotonic()
        eventually(lambda: "former tokens end within 3 s" in process.get("/readyz")[1])
        assert process.get("/readyz")[0] == 200
        assert answers(process)
        eventually(lambda: process.get("/readyz")[0] == 503)
        assert KEEP_S - 0.5 < time.monotonic() - lost < KEEP_S + 3
        assert "no token is accepted" in process.get("/readyz")[1]
        assert not answers(process)
        assert any("tokens not usable" in line["event"] for line in process.log())
        tokens.write_text(f"read {TOKEN}\n")
        eventually(lambda: process.get("/readyz")[0] == 200)
        eventually(lambda: answers(process))


def test_a_start_without_usable_tokens_is_refused(served_toy: Toy, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    for content in (None, "", "rubbish\n"):
        if content is not None:
            tokens.write_text(content)
        done = run_mulde("serve", str(served_toy.path), "--api-key-file", str(tokens), "--check")
        assert done.returncode == 1


def test_secrets_that_others_can_read_are_warned_of(served_toy: Toy, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"read {TOKEN}\n")
    for mode, warned in ((0o644, True), (0o600, False)):
        tokens.chmod(mode)
        flags = ("--api-key-file", str(tokens))
        with server(served_toy.path, *flags, log=tmp_path / "log") as process:
            warnings = [line for line in process.log() if line["level"] == "warning"]
        assert [line["file"] for line in warnings] == ([str(tokens)] if warned else [])


def test_failed_authentications_name_the_peer_and_are_limited(
    served_toy: Toy, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"read {TOKEN}\n")
    flags = ("--api-key-file", str(tokens))
    env = {"MULDE_AUTH__MAX_FAILURES_PER_MINUTE": "5"}
    with server(served_toy.path, *flags, log=tmp_path / "log", env=env) as process:
        codes = []
        with grpc.insecure_channel(process.address) as channel:
            ask = method_of_bytes(channel, "/mulde.v1.ModelService/ListModels")
            request = model_pb2.ListModelsRequest().SerializeToString()
            for _ in range(8):
                with pytest.raises(grpc.RpcError) as caught:
                    ask(request, metadata=(("authorization", "Bearer wrong-secret-0123"),))
                codes.append(caught.value.code())
        assert codes[:5] == [grpc.StatusCode.UNAUTHENTICATED] * 5
        assert codes[5:] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 3
        assert answers(process)  # a known token is not held back by others of its address
        told = [line for line in process.log() if line["event"] == "authentication failed"]
        assert len(told) == 5
        assert all(line["peer"].startswith("ipv4:127.0.0.1:") for line in told)
        assert "wrong-secret" not in process.raw_log

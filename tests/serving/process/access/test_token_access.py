"""Who is let in to what: every method against every token, rotated tokens, and no secret told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from mulde.client import Client
from mulde.errors import MuldeError, Unauthenticated
from serving.process.access.auth import ADMIN_METHODS
from serving.rpc.methods import SERVICES
from tests.support.server import ServerProcess, eventually, method_of_bytes, run_mulde, server
from tests.support.toy import toy_bundle

READ, ADMIN = "read-secret-Ab3dEf6h1j", "admin-secret-Kl2nOp5r8t"
ENDED, WRONG = "ended-secret-Uv4wXy7z0a", "wrong-secret-Bc9dEf1g2h"
SECRETS = (READ, ADMIN, ENDED, WRONG)
FILE = f"# who\nread {READ} 2100-01-01\nadmin {ADMIN}\nadmin {ENDED} 2020-01-01\n"
METHODS = [
    f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods
]
CREDENTIALS = {
    "none": None,
    "empty": "",
    "no scheme": READ,
    "another scheme": f"Basic {ADMIN}",
    "no token": "Bearer ",
    "wrong": f"Bearer {WRONG}",
    "beginning of one": f"Bearer {ADMIN[:-1]}",
    "more than one": f"Bearer {ADMIN}x",
    "two": f"Bearer {READ} {ADMIN}",
    "of another case": f"Bearer {ADMIN.upper()}",
    "ended": f"Bearer {ENDED}",
    "long": "Bearer " + "x" * 7000,
    "read": f"Bearer {READ}",
    "admin": f"Bearer {ADMIN}",
    "admin, scheme in small letters": f"bearer {ADMIN}",
}
UNKNOWN = [name for name in CREDENTIALS if not name.startswith(("read", "admin"))]


@dataclass
class Guarded:
    """A server that knows tokens, and their file."""

    process: ServerProcess
    tokens: Path

    def code(self, method: str, authorization: str | None) -> str:
        """The status of an empty request: authorisation comes before everything else."""
        metadata = () if authorization is None else (("authorization", authorization),)
        with grpc.insecure_channel(self.process.address) as channel:
            try:
                method_of_bytes(channel, method)(b"", metadata=metadata, timeout=60)
            except grpc.RpcError as error:
                return str(error.code().name)
        return "OK"


def guarded(folder: Path, *flags: str) -> Iterator[Guarded]:
    tokens = folder / "tokens"
    tokens.write_text(FILE)
    toy = toy_bundle(folder / "toy")
    flags = ("--api-key-file", str(tokens), "--log-level", "debug", "--log-requests", *flags)
    more = {"MULDE_AUTH__MAX_FAILURES_PER_MINUTE": "10000"}
    with server(toy.path, *flags, log=folder / "log", env=more) as process:
        yield Guarded(process, tokens)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    yield from guarded(tmp_path_factory.mktemp("guarded"))


@pytest.fixture(params=["1", "2"], ids=["one process", "two workers"])
def rotated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guarded]:
    yield from guarded(tmp_path, "--workers", request.param)


def is_admin(method: str) -> bool:
    return method.strip("/").replace("/", ".") in ADMIN_METHODS


def test_methods_that_change_something_need_the_admin_role() -> None:
    assert {method.rpartition(".")[2] for method in ADMIN_METHODS} == {
        "LoadModel",
        "ReloadModel",
        "UnloadModel",
        "AddFacts",
        "RemoveFacts",
        "ListChangedFacts",
    }
    assert sum(map(is_admin, METHODS)) == len(ADMIN_METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_token_that_is_known_no_method_answers(guard: Guarded, method: str) -> None:
    codes = {name: guard.code(method, CREDENTIALS[name]) for name in UNKNOWN}
    assert codes == dict.fromkeys(UNKNOWN, "UNAUTHENTICATED")


@pytest.mark.parametrize("method", METHODS)
def test_a_reader_asks_and_an_administrator_changes(guard: Guarded, method: str) -> None:
    refused = {"UNAUTHENTICATED", "PERMISSION_DENIED"}
    assert (guard.code(method, CREDENTIALS["read"]) == "PERMISSION_DENIED") == is_admin(method)
    for name in ("admin", "admin, scheme in small letters"):
        assert guard.code(method, CREDENTIALS[name]) not in refused


def test_without_a_token_file_administration_is_refused(served: ServerProcess) -> None:
    open_to_all = Guarded(served, Path())
    for method in filter(is_admin, METHODS):
        for authorization in CREDENTIALS.values():
            assert open_to_all.code(method, authorization) == "PERMISSION_DENIED"


def test_health_needs_no_token_and_tells_no_names(guard: Guarded) -> None:
    with grpc.insecure_channel(guard.process.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        reply = stub.Check(health_pb2.HealthCheckRequest())
    assert reply == health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


def lets_in(guard: Guarded, token: str) -> bool:
    """Whether new connections with that token are answered, whichever worker takes them."""
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(Client(guard.process.address, token=token))
            try:
                client.models()
            except Unauthenticated:
                return False
    return True


def test_tokens_are_rotated_while_serving(rotated: Guarded) -> None:
    new = "new-secret-Ij3kLm6n9o1p"
    assert lets_in(rotated, READ)
    rotated.tokens.write_text(f"read {new}\n")
    eventually(lambda: lets_in(rotated, new), timeout=60)
    eventually(lambda: not lets_in(rotated, READ), timeout=60)

    def still_lets_in(told: int) -> bool:
        """Whether the new token holds after another complaint."""
        return lets_in(rotated, new) and len(complaints(rotated)) > told

    for bad in (f"reed {WRONG}\n", "", f"read {WRONG} soon\n"):
        rotated.tokens.write_text(bad)
        told = len(complaints(rotated))
        eventually(partial(still_lets_in, told), 60)
        assert not lets_in(rotated, WRONG)
    assert all(secret not in rotated.process.raw_log for secret in (*SECRETS, new))


def complaints(guard: Guarded) -> list[str]:
    lines = guard.process.log()
    return [line["error"] for line in lines if "changed tokens not usable" in line["event"]]


def test_a_connected_client_is_refused_once_its_token_is_gone(guard: Guarded) -> None:
    with Client(guard.process.address, token=READ) as client:
        assert len(client.models()) == 1
        guard.tokens.write_text(FILE.replace(READ, "z" * 20))
        try:
            eventually(lambda: refuses(client), timeout=60)
        finally:
            guard.tokens.write_text(FILE)
        eventually(lambda: not refuses(client), timeout=60)


def refuses(client: Client) -> bool:
    try:
        client.models()
    except Unauthenticated:
        return True
    return False


def test_no_secret_is_in_any_output(guard: Guarded) -> None:
    told = [*use_every_secret(guard), *pages(guard), *system(guard), reflected(guard)]
    told.append(guard.process.raw_log)
    assert "PERMISSION_DENIED" in guard.process.raw_log  # the log is of these calls
    for text in told:
        for secret in SECRETS:
            assert secret not in text
            assert secret[:12] not in text


def use_every_secret(guard: Guarded) -> list[str]:
    """Errors and trailers of calls with every token, good and bad."""
    texts = []
    for secret in SECRETS:
        for method in METHODS:
            with grpc.insecure_channel(guard.process.address) as channel:
                metadata = (("authorization", f"Bearer {secret}"),)
                try:
                    method_of_bytes(channel, method)(b"\x0a\xff", metadata=metadata, timeout=60)
                except grpc.RpcError as error:
                    texts += [str(error), repr(error.trailing_metadata())]
        command = ("models", "load", "nothing", "--server", guard.process.address)
        done = run_mulde(*command, MULDE_TOKEN=secret)
        texts += [done.stdout, done.stderr]
    return texts


def pages(guard: Guarded) -> list[str]:
    return [guard.process.get(page)[1] for page in ("/metrics", "/healthz", "/readyz", "/tokens")]


def system(guard: Guarded) -> list[str]:
    """What other processes of this machine may see of the server."""
    folder = Path("/proc") / str(guard.process.process.pid)
    return [(folder / name).read_text(errors="replace") for name in ("cmdline", "environ", "comm")]


def reflected(guard: Guarded) -> str:
    with grpc.insecure_channel(guard.process.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        files = [database.FindFileContainingSymbol(name) for name in database.get_services()]
    assert files
    return "".join(map(str, files))


def test_a_token_that_no_header_can_carry_is_an_error_and_not_told(guard: Guarded) -> None:
    secret = "line\nfeed-in-a-secret-0123"
    with Client(guard.process.address, token=secret) as client:
        with pytest.raises(Exception, match=r".") as caught:
            client.models()
        assert isinstance(caught.value, MuldeError)
        assert "secret" not in str(caught.value)


def test_the_metrics_port_echoes_nothing_and_names_no_versions(guard: Guarded) -> None:
    where = (guard.process.ready["host"], guard.process.ready["metrics_port"])
    for line in ("GET /<script>alert(1)</script>", "<SCRIPT> /", "POST /metrics", "GET /../tokens"):
        with socket.create_connection(where, timeout=30) as connection:
            connection.sendall(f"{line} HTTP/1.0\r\n\r\n".encode())
            reply = connection.makefile("rb").read()
        assert b" 200 " not in reply.partition(b"\r\n")[0]
        assert b"<script" not in reply.lower()
        assert b"Python" not in reply

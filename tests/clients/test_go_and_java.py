"""The Go and Java clients, generated from the protos, compiled, and run against the real server.

Both use the packages of the distribution, so nothing is downloaded here; `.ci/run` lists them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mulde.client import Client
from tests.support.server import ServerProcess, server
from tests.support.toy import toy_bundle

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
GOOGLEAPIS = sysconfig.get_path("purelib")
GOCODE, JAVA = Path("/usr/share/gocode"), Path("/usr/share/java")
GRPC = ("api", "stub", "protobuf", "protobuf-lite", "core", "context", "netty")
NETTY = ("buffer", "codec", "codec-http", "codec-http2", "codec-socks", "common", "handler")
JARS = [
    *(f"grpc-{part}" for part in GRPC),
    *(f"netty-{part}" for part in (*NETTY, "handler-proxy", "resolver", "transport")),
    *("protobuf", "guava", "jsr305", "geronimo-annotation-1.3-spec"),
    *("perfmark-api", "opencensus-api"),
]
CLASSPATH = ":".join(str(JAVA / f"{name}.jar") for name in JARS)
GO_NEEDS = ["go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"]
JAVA_NEEDS = ["javac", "java", "protoc", "grpc_java_plugin"]


def missing(tools: Sequence[str], files: Sequence[Path]) -> list[str]:
    """What is not installed."""
    absent = [str(path) for path in files if not path.exists()]
    return absent + [name for name in tools if shutil.which(name) is None]


NO_GO = missing(
    GO_NEEDS, [GOCODE / "src/google.golang.org/grpc", GOCODE / "src/google.golang.org/protobuf"]
)
NO_JAVA = missing(JAVA_NEEDS, [JAVA / f"{name}.jar" for name in JARS])


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("clients")
    with server(toy_bundle(folder / "toy").path, log=folder / "log") as started:
        yield started


def run(*command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=300
    )


def expected(process: ServerProcess) -> str:
    with Client(process.address) as client:
        answers = client.predict_tails("Q0000001", "P0", k=3)
    rows = zip(answers.ids, answers.scores, strict=True)
    return "".join(f"{name}\t{score:.6f}\n" for name, score in rows)


def check(process: ServerProcess, command: Sequence[str | Path]) -> None:
    """The program prints what Python is answered, and the server's words for a wrong name."""
    asked = run(*command, process.address, "Q0000001", "P0", "3")
    assert asked.stdout == expected(process), asked.stderr
    wrong = run(*command, process.address, "Q000000x", "P0", "3")
    assert wrong.returncode != 0
    assert "no entity is called 'Q000000x'" in wrong.stderr


@pytest.mark.skipif(bool(NO_GO), reason=f"not installed: {', '.join(NO_GO)}")
def test_a_go_program_gets_the_answers_that_python_gets(
    process: ServerProcess, tmp_path: Path
) -> None:
    module = tmp_path / "src" / "example.com" / "ask"
    made = run(CLIENTS / "go" / "generate.sh", "example.com/ask", module, GOOGLEAPIS)
    assert made.returncode == 0, made.stderr
    shutil.copy(CLIENTS / "go" / "predict.go", module)
    where = {"GO111MODULE": "off", "GOPATH": f"{tmp_path}:{GOCODE}"}
    built = run("go", "build", "-o", tmp_path / "predict", module / "predict.go", **where)
    assert built.returncode == 0, built.stderr
    check(process, [tmp_path / "predict"])


@pytest.mark.skipif(bool(NO_JAVA), reason=f"not installed: {', '.join(NO_JAVA)}")
def test_a_java_program_gets_the_answers_that_python_gets(
    process: ServerProcess, tmp_path: Path
) -> None:
    """Debian's gRPC lacks the classes of google.rpc, which Maven's brings: they are made here."""
    made = run(CLIENTS / "java" / "generate.sh", tmp_path / "made", GOOGLEAPIS)
    assert made.returncode == 0, made.stderr
    status = f"{GOOGLEAPIS}/google/rpc/status.proto"
    assert run("protoc", "-I", GOOGLEAPIS, f"--java_out={tmp_path}/made", status).returncode == 0
    sources = [*(tmp_path / "made").rglob("*.java"), CLIENTS / "java" / "Predict.java"]
    built = run("javac", "-nowarn", "-cp", CLASSPATH, "-d", tmp_path / "classes", *sources)
    assert built.returncode == 0, built.stderr
    check(process, ["java", "-cp", f"{CLASSPATH}:{tmp_path}/classes", "Predict"])

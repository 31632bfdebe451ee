"""What stops a start, and what a start says: port, address, settings, the bundle checked."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

import pytest

from mulde.client import Client
from tests.support.server import ServerProcess, eventually, run_mulde, server
from tests.support.toy import Toy, toy_bundle


def test_the_first_line_on_stdout_says_where_it_listens(served: ServerProcess) -> None:
    assert served.ready["event"] == "serving"
    assert served.ready["grpc_port"] > 0
    assert served.ready["metrics_port"] > 0
    assert served.ready["models"] == ["toy/1"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_named(served_toy: Toy, workers: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for flag, named in (("--grpc-port", "grpc_port"), ("--metrics-port", "metrics_port")):
            ports = {"--grpc-port": "0", "--metrics-port": "0", flag: port}
            arguments = [part for pair in ports.items() for part in pair]
            done = run_mulde("serve", str(served_toy.path), "--workers", workers, *arguments)
            assert done.returncode == 1
            assert f"server.{named}" in done.stderr
            assert "Traceback" not in done.stderr


def test_two_servers_never_share_a_port(served: ServerProcess, served_toy: Toy) -> None:
    port = str(served.ready["grpc_port"])
    for workers in ("1", "2"):
        flags = ("--grpc-port", port, "--metrics-port", "0", "--workers", workers)
        done = run_mulde("serve", str(served_toy.path), *flags)
        assert done.returncode == 1
        assert "server.grpc_port" in done.stderr


def test_listening_beyond_loopback_needs_tls_and_tokens_or_insecure(
    served_toy: Toy, tmp_path: Path
) -> None:
    for more in ((), ("--check",)):
        done = run_mulde("serve", str(served_toy.path), "--host", "0.0.0.0", *more)
        assert done.returncode == 1
        assert "TLS (--tls-cert, --tls-key) and tokens (--api-key-file)" in done.stderr
        assert "--insecure" in done.stderr
    flags = ("--host", "0.0.0.0", "--insecure")
    with server(served_toy.path, *flags, log=tmp_path / "log") as process:
        events = [line["event"] for line in process.log() if line["level"] == "warning"]
        with Client(process.address) as client:
            assert len(client.models()) == 1
    assert events == [
        "listening beyond loopback without TLS",
        "listening beyond loopback without tokens",
    ]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_works_with_default_flags(
    served_toy: Toy, tmp_path: Path, host: str, workers: str
) -> None:
    flags = ("--host", host, "--workers", workers, "--insecure")
    with (
        server(served_toy.path, *flags, log=tmp_path / "log") as process,
        Client(process.address) as client,
    ):
        assert len(client.models()) == 1
        assert process.get("/readyz")[0] == 200


def test_the_metrics_port_has_a_host_of_its_own(served_toy: Toy, tmp_path: Path) -> None:
    flags = ("--metrics-host", "::1")
    with server(served_toy.path, *flags, log=tmp_path / "log") as process:
        assert process.ready["metrics_host"] == "::1"
        assert process.get("/readyz")[0] == 200
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", process.ready["metrics_port"]), 5)


def test_probe_requests_that_are_broken_off_write_nothing(served_toy: Toy, tmp_path: Path) -> None:
    with server(served_toy.path, log=tmp_path / "log") as process:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", process.ready["metrics_port"])) as caller:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                caller.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        eventually(lambda: process.get("/readyz")[0] == 200)
        lines = process.raw_log.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["event"] == "serving"


def test_loopback_is_not_warned_of(served: ServerProcess) -> None:
    assert not [line for line in served.log() if line["level"] == "warning"]


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("MULDE_AUTH_API_KEY_FILE", "MULDE_AUTH__API_KEY_FILE"),
        ("MULDE_AUTHX__API_KEY_FILE", "MULDE_AUTH__API_KEY_FILE"),
        ("MULDE_TLS_CERT", "MULDE_TLS__CERT"),
        ("MULDE_SERVR__GRPC_PORT", "MULDE_SERVER__GRPC_PORT"),
        ("MULDE_SERVER_WORKERS", "MULDE_SERVER__WORKERS"),
        ("mulde_auth__api_key_file", "MULDE_AUTH__API_KEY_FILE"),
        ("Mulde_Tls__Key", "MULDE_TLS__KEY"),
    ],
)
def test_a_misspelt_variable_stops_the_start(served_toy: Toy, variable: str, nearest: str) -> None:
    done = run_mulde("serve", str(served_toy.path), "--check", **{variable: "a-secret"})
    assert done.returncode == 1
    assert f"nearest is {nearest}" in done.stderr
    assert "a-secret" not in done.stderr


def test_variables_of_the_client_do_not_stop_the_start(served_toy: Toy) -> None:
    env = {"MULDE_TOKEN": "x", "MULDE_ADDRESS": "localhost:1", "MULDE_DATA": "/data"}
    assert run_mulde("serve", str(served_toy.path), "--check", **env).returncode == 0


def test_variables_that_kubernetes_makes_for_a_service_do_not_stop_the_start(
    served_toy: Toy,
) -> None:
    env = {
        "MULDE_SERVICE_HOST": "10.0.0.7",
        "MULDE_SERVICE_PORT": "50051",
        "MULDE_SERVICE_PORT_GRPC": "50051",
        "MULDE_PORT": "tcp://10.0.0.7:50051",
        "MULDE_PORT_50051_TCP": "tcp://10.0.0.7:50051",
        "MULDE_PORT_50051_TCP_ADDR": "10.0.0.7",
    }
    assert run_mulde("serve", str(served_toy.path), "--check", **env).returncode == 0
    done = run_mulde("serve", str(served_toy.path), "--check", MULDE_PORT="50051")
    assert done.returncode == 1
    assert "MULDE_PORT" in done.stderr


def test_check_accepts_a_sound_bundle(served_toy: Toy) -> None:
    done = run_mulde("serve", str(served_toy.path), "--check")
    assert done.returncode == 0
    assert done.stdout.startswith("ok: toy/1 (toy, 8-d, 1200 entities, 4 relations)")


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "manifest.sha256",
        "encoder.onnx",
        "entities.faiss",
        "vocabulary.bin",
        "known.bin",
        "types.bin",
        "search.bin",
        "calibration.json",
        "card.md",
    ],
)
def test_check_names_the_damaged_file(tmp_path: Path, name: str) -> None:
    toy = toy_bundle(tmp_path / "toy")
    content = bytearray((toy.path / name).read_bytes())
    content[len(content) // 2] ^= 0x55
    (toy.path / name).write_bytes(content)
    done = run_mulde("serve", str(toy.path), "--check")
    assert done.returncode == 1
    assert name.partition(".")[0] in done.stderr
    assert str(toy.path) in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "named"),
    [
        (["/nowhere"], {}, "/nowhere"),
        ([], {}, "models.dir: expected a bundle or a model repository"),
        (["."], {"MULDE_SERVER__GRPC_PROT": "1"}, "MULDE_SERVER__GRPC_PROT"),
        (["."], {"MULDE_SERVER__WORKERS": "0"}, "server.workers: expected at least 1, found '0'"),
        (["."], {"MULDE_SERVER__WORKERS": "x"}, "server.workers: expected a whole number"),
        (["."], {"MULDE_SERVER__GRACE_S": "nan"}, "server.grace_s: expected"),
        (["."], {"MULDE_SERVER__REFLECTION": "maybe"}, "expected true or false"),
        (["."], {"MULDE_MODELS__PINS": "a=1"}, "MULDE_MODELS__PINS: expected a table"),
        ([".", "--config", "none.toml"], {}, "none.toml"),
        ([".", "--log-format", "xml"], {}, "log.format"),
    ],
)
def test_check_names_the_wrong_setting(
    arguments: list[str], env: dict[str, str], named: str
) -> None:
    done = run_mulde("serve", *arguments, "--check", **env)
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_key_of_a_file_is_refused_with_the_nearest(
    served_toy: Toy, tmp_path: Path
) -> None:
    config = tmp_path / "mulde.toml"
    for text, nearest in (
        ("[server]\ngrpc_prot = 1\n", "server.grpc_port"),
        ("[servr]\ngrpc_port = 1\n", "server"),
        ("[AUTH]\ngrpc_port = 1\n", "nearest is auth,"),
        ("server = 1\n", "table [server]"),
    ):
        config.write_text(text)
        done = run_mulde("serve", str(served_toy.path), "--config", str(config), "--check")
        assert done.returncode == 1
        assert nearest in done.stderr
        assert "xtra inputs" not in done.stderr


def test_flags_win_over_environment_and_environment_over_file(
    served_toy: Toy, tmp_path: Path
) -> None:
    config = tmp_path / "mulde.toml"
    config.write_text("[limits]\nmax_k = 11\nmax_batch_size = 12\nmax_name_bytes = 113\n")
    env = {"MULDE_LIMITS__MAX_K": "21", "MULDE_LIMITS__MAX_BATCH_SIZE": "22"}
    flags = ("--config", str(config), "--max-k", "31")
    with (
        server(served_toy.path, *flags, log=tmp_path / "log", env=env) as process,
        Client(process.address) as client,
    ):
        limits = client.model().limits
    found = (limits.max_k, limits.max_batch_size, limits.max_name_bytes)
    assert found == (31, 22, 113)

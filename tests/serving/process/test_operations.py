"""What runs around the answers: health, metrics, logs, limits on load, draining, checking."""

from __future__ import annotations

import json
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from mulde.client import Client, Connection
from mulde.errors import DeadlineExceeded, Draining, MuldeError, Overloaded, Unreachable
from mulde.v1 import model_pb2, prediction_pb2, vocabulary_pb2
from tests.support.server import ServerProcess, eventually, method_of_bytes, run_mulde, server
from tests.support.toy import Toy, toy_bundle

SERVING = health_pb2.HealthCheckResponse.SERVING
BIG = 60_000


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose ranks take long enough to be interrupted."""
    return toy_bundle(tmp_path_factory.mktemp("big") / "toy", entities=BIG, dimension=32).path


def slow(client: Client, count: int = 64, timeout_s: float = 60) -> None:
    """Rank triples: some milliseconds for each."""
    client.score(["Q0000001"] * count, "P0", "Q0000002", ranks=True, timeout_s=timeout_s)


def test_health_is_serving_for_the_server_and_each_service(served: ServerProcess) -> None:
    with grpc.insecure_channel(served.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "mulde.v1.LinkPredictionService", "mulde.v1.ModelService"):
            reply = stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert reply.status == SERVING


def test_reflection_describes_the_contract(served: ServerProcess) -> None:
    with grpc.insecure_channel(served.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = database.get_services()
        for proto in (prediction_pb2, vocabulary_pb2, model_pb2):
            for service in proto.DESCRIPTOR.services_by_name.values():
                assert service.full_name in services
                file = database.FindFileContainingSymbol(service.full_name)
                assert [one.name for one in file.service] == [service.name]


def test_probes_say_that_it_lives_and_is_ready(served: ServerProcess) -> None:
    assert served.get("/livez") == served.get("/healthz") == (200, "ok\n")
    assert served.get("/readyz") == (200, "ready\n")
    assert served.get("/nothing")[0] == 404


def test_metrics_count_calls_queries_and_stages(served: ServerProcess, client: Client) -> None:
    ok = {"method": "PredictTails", "model": "toy/1", "code": "OK"}
    before = served.metric("mulde_requests_total", **ok)
    queries = served.metric("mulde_request_queries_sum")
    client.predict_tails(["Q0000001"] * 7, "P0")
    assert served.metric("mulde_requests_total", **ok) == before + 1
    assert served.metric("mulde_request_queries_sum") == queries + 7
    for stage in ("queue", "search", "rescore"):
        assert served.metric("mulde_stage_seconds_count", stage=stage) > 0
    assert served.metric("mulde_batch_queries_count") > 0
    assert served.metric("mulde_index_recall_at_10", model="toy/1") == 1
    assert served.metric("mulde_model_info", name="toy", version="1") == 1
    assert served.metric("mulde_memory_bytes", kind="private") > 1e6
    bad = {"method": "PredictTails", "code": "INVALID_ARGUMENT"}
    refused = served.metric("mulde_requests_total", **bad)
    with pytest.raises(Exception, match="k"):
        client.predict_tails("Q0000001", "P0", k=0)
    assert served.metric("mulde_requests_total", **bad) == refused + 1


def test_a_request_id_goes_through_call_log_and_answer(served: ServerProcess) -> None:
    with grpc.insecure_channel(served.address) as channel:
        send = method_of_bytes(channel, "/mulde.v1.ModelService/GetModel")
        _, call = send.with_call(b"", metadata=(("x-request-id", "abc-123"),))
        assert dict(call.trailing_metadata())["x-request-id"] == "abc-123"
        _, call = send.with_call(b"", metadata=(("x-request-id", 'a "b" c'),))
        fresh = dict(call.trailing_metadata())["x-request-id"]
    assert fresh != 'a "b" c'
    assert len(fresh) == 16
    lines = {line.get("request_id"): line for line in served.log()}
    assert lines["abc-123"]["method"] == "GetModel"
    assert lines["abc-123"]["code"] == "OK"
    assert fresh in lines


def test_the_log_names_peer_and_trace_and_counts_failed_queries(served: ServerProcess) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    failed = served.metric("mulde_failed_queries_total", method="PredictTails")
    request = prediction_pb2.PredictTailsRequest(
        heads=["Q0000001", "nobody"], relations=["P0", "P0"]
    ).SerializeToString()
    with grpc.insecure_channel(served.address) as channel:
        send = method_of_bytes(channel, "/mulde.v1.LinkPredictionService/PredictTails")
        send(
            request,
            metadata=(
                ("x-request-id", "traced-1"),
                ("traceparent", trace),
            ),
        )
        send(
            request,
            metadata=(
                ("x-request-id", "traced-2"),
                ("traceparent", '00-x"y'),
            ),
        )
    eventually(lambda: served.metric("mulde_failed_queries_total", method="PredictTails") > failed)
    lines = {line.get("request_id"): line for line in served.log()}
    assert lines["traced-1"]["traceparent"] == trace
    assert lines["traced-1"]["peer"].startswith("ipv4:127.0.0.1:")
    assert (lines["traced-1"]["queries"], lines["traced-1"]["failed_queries"]) == (2, 1)
    assert "traceparent" not in lines["traced-2"]


def test_names_cannot_forge_log_lines(served: ServerProcess, client: Client) -> None:
    before = len(served.log())
    answers = client.predict_tails('x"}\n{"event":"forged"}\x1b[2J', "P0")
    assert 0 in answers.errors
    eventually(lambda: len(served.log()) > before)
    assert not any(line["event"] == "forged" for line in served.log())
    assert "\x1b" not in served.raw_log


def test_too_many_calls_at_once_are_refused_at_once(big: Path, tmp_path: Path) -> None:
    flags = ("--max-concurrent-requests", "2")
    with (
        server(big, *flags, log=tmp_path / "log") as process,
        Client(Connection(process.address, attempts=1)) as client,
    ):
        calls = [threading.Thread(target=slow, args=(client, 96)) for _ in range(2)]
        for call in calls:
            call.start()
        eventually(lambda: process.metric("mulde_requests_in_flight") == 2)
        start = time.perf_counter()
        with pytest.raises(Overloaded, match="2 requests in flight"):
            client.predict_tails("Q0000001", "P0")
        assert time.perf_counter() - start < 1
        for call in calls:
            call.join()
        assert len(client.predict_tails("Q0000001", "P0").rows) == 10


def test_a_deadline_is_kept(big: Path, tmp_path: Path) -> None:
    with server(big, log=tmp_path / "log") as process, Client(process.address) as client:
        start = time.perf_counter()
        with pytest.raises(DeadlineExceeded):
            slow(client, 1024, timeout_s=0.05)
        assert time.perf_counter() - start < 1
        assert len(client.predict_tails("Q0000001", "P0", timeout_s=30).rows) == 10


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_finishes_what_runs_and_takes_nothing_new(
    big: Path, tmp_path: Path, workers: str
) -> None:
    with server(big, "--workers", workers, log=tmp_path / "log") as process:
        with Client(Connection(process.address, attempts=1)) as client:
            outcome: list[object] = []

            def run() -> None:
                try:
                    slow(client, 160)
                    outcome.append("answered")
                except Exception as error:
                    outcome.append(error)

            call = threading.Thread(target=run)
            call.start()
            eventually(lambda: process.metric("mulde_requests_in_flight") == 1)
            process.process.send_signal(signal.SIGTERM)
            eventually(lambda: any(line["event"] == "draining" for line in process.log()))
            time.sleep(0.1)
            with pytest.raises((Draining, Unreachable)):
                client.predict_tails("Q0000001", "P0")
            call.join()
        assert outcome == ["answered"]
        assert process.process.wait(10) == 0
        assert process.log()[-1]["all_answered"] is True


def test_the_grace_time_ends_what_takes_too_long(big: Path, tmp_path: Path) -> None:
    outcome: list[object] = []

    def run(client: Client) -> None:
        try:
            slow(client, 1024)
        except MuldeError as error:
            outcome.append(error)

    with (
        server(big, "--grace-s", "0.2", log=tmp_path / "log") as process,
        Client(Connection(process.address, attempts=1)) as client,
    ):
        call = threading.Thread(target=run, args=(client,))
        call.start()
        eventually(lambda: process.metric("mulde_requests_in_flight") == 1)
        start = time.perf_counter()
        assert process.terminate(10) == 1
        assert time.perf_counter() - start < 5
        call.join()
        assert process.log()[-1]["all_answered"] is False
    assert [type(one) for one in outcome] == [Unreachable]


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


def test_the_text_log_is_one_line_for_each_event(served_toy: Toy, tmp_path: Path) -> None:
    with server(served_toy.path, "--log-format", "text", log=tmp_path / "log") as process:
        process.terminate()
        lines = process.raw_log.splitlines()
    assert [line.split("event=")[1].split()[0] for line in lines] == [
        "'serving'",
        "'draining'",
        "'stopped'",
    ]


def test_a_json_line_is_json(served: ServerProcess) -> None:
    for line in served.raw_log.splitlines():
        assert {"event", "level", "timestamp"} <= set(json.loads(line))

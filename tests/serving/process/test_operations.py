"""What runs around the answers: health, reflection, metrics and logs."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from mulde.client import Client
from mulde.v1 import model_pb2, prediction_pb2, vocabulary_pb2
from tests.support.server import ServerProcess, eventually, method_of_bytes, server
from tests.support.toy import Toy

SERVING = health_pb2.HealthCheckResponse.SERVING


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

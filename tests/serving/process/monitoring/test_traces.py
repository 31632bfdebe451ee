"""Spans of calls, from a real server process to a collector that speaks OTLP over HTTP."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from mulde.errors import ConfigError
from mulde.v1 import prediction_pb2
from serving.process.monitoring.traces import open_traces
from tests.support.server import ROOT, environment, eventually, method_of_bytes, server
from tests.support.toy import Toy

METHOD = "/mulde.v1.LinkPredictionService/PredictTails"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "call-7"))


class Collector(HTTPServer):
    """Keeps the spans that it is sent, as (resource attributes, span)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[tuple[dict[str, Any], Any]] = []


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        for group in trace_service.ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = values_of(group.resource.attributes)
            for scope in group.scope_spans:
                self.server.spans += [(resource, span) for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output clean."""


def values_of(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs mulde[otel]")
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def test_each_call_is_a_span_whose_parent_is_the_callers(
    served_toy: Toy, tmp_path: Path, collector: Collector
) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
    request = prediction_pb2.PredictTailsRequest(heads=["Q0000001", "nobody"], relations=["P0"] * 2)
    with server(served_toy.path, log=tmp_path / "log", env=env) as process:
        with grpc.insecure_channel(process.address) as channel:
            ask = method_of_bytes(channel, METHOD)
            ask(request.SerializeToString(), metadata=CALLER, timeout=30)
            with pytest.raises(grpc.RpcError):
                ask(prediction_pb2.PredictTailsRequest().SerializeToString(), timeout=30)
        process.terminate()
    eventually(lambda: len(collector.spans) == 2)
    (resource, first), (_, second) = collector.spans
    assert resource["service.name"] == "mulde"
    assert first.name == METHOD[1:]
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, PARENT)
    assert 0 < first.end_time_unix_nano - first.start_time_unix_nano < 30e9
    told = values_of(first.attributes)
    assert told["rpc.method"] == "PredictTails"
    assert (told["mulde.queries"], told["mulde.failed_queries"]) == (2, 1)
    assert (told["mulde.request_id"], told["rpc.grpc.status_code"]) == ("call-7", 0)
    assert not second.parent_span_id
    invalid: int = grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert values_of(second.attributes)["rpc.grpc.status_code"] == invalid


def test_nothing_of_opentelemetry_is_imported_where_it_is_not_asked_for() -> None:
    program = (
        "import sys; import serving.process.main; from serving.process.monitoring import traces; "
        "traces.open_traces({}); assert not any('opentelemetry' in name for name in sys.modules)"
    )
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_spans_that_are_asked_for_without_the_extra_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT: .*mulde\[otel\]"):
        open_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})

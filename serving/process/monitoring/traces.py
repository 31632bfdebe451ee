"""OpenTelemetry spans of calls, with the caller's ``traceparent`` as parent: ``mulde[otel]``.

They are on where one of the variables OTEL_EXPORTER_OTLP_ENDPOINT and
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set; the SDK reads all others (OTEL_SERVICE_NAME,
OTEL_TRACES_SAMPLER, ...). Without them nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from time import time_ns

import grpc

from mulde.errors import ConfigError
from serving.rpc.handlers import TRACEPARENT, Call

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

EndSpan = Callable[[str, grpc.StatusCode, Call, float], None]
"""Method, code, call and seconds: adds the span of a call that has ended."""


def open_traces(
    variables: Mapping[str, str] = os.environ,
) -> tuple[EndSpan, Callable[[], None]] | None:
    """Return what adds the span of a call, and what sends those that wait; None without tracing.

    Raises:
        ConfigError: if spans are wanted and ``mulde[otel]`` is not installed.
    """
    name = next((name for name in _ENDPOINTS if variables.get(name)), None)
    if name is None or variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        return _exported()
    except ModuleNotFoundError as error:
        expected = "the packages of mulde[otel]: pip install 'mulde[otel]'"
        raise ConfigError(name, expected, f"no {error.name}") from error


def _exported() -> tuple[EndSpan, Callable[[], None]]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "mulde"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer, propagator = provider.get_tracer("mulde"), TraceContextTextMapPropagator()

    def ended(method: str, code: grpc.StatusCode, call: Call, seconds: float) -> None:
        service, _, name = method.rpartition(".")
        end = time_ns()
        span = tracer.start_span(
            f"{service}/{name}",
            propagator.extract({TRACEPARENT: call.trace} if call.trace else {}),
            SpanKind.SERVER,
            {
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": name,
                "rpc.grpc.status_code": code.value[0],
                "mulde.model": call.model,
                "mulde.queries": call.queries,
                "mulde.failed_queries": call.failed,
                "mulde.request_id": call.id,
            },
            start_time=end - round(seconds * 1e9),
        )
        if code is grpc.StatusCode.INTERNAL:
            span.set_status(StatusCode.ERROR, code.name)
        span.end(end)

    return ended, provider.shutdown

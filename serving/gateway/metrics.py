"""Counters of the gateway for Prometheus, on a port of their own."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from starlette.responses import Response

from mulde.errors import ConfigError

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class GatewayMetrics:
    """Counts calls by method and status, and measures how long they took."""

    def __init__(self) -> None:
        """Register the metrics; nothing listens yet."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mulde_gateway_requests",
            "Calls of the gateway, by status of HTTP.",
            ["method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "mulde_gateway_request_seconds",
            "Time from the head of a request to its answer; of a stream, to its first line.",
            ["method"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "mulde_gateway_requests_in_flight",
            "Calls of the gateway that are being answered.",
            registry=self._registry,
        )

    def listen(self, host: str, port: int) -> int:
        """Serve the metrics from a thread; return the port.

        Raises:
            ConfigError: if the port cannot be bound.
        """
        try:
            server, _ = start_http_server(port, host, self._registry)
        except OSError as error:
            expected = f"a free port on {host} ({error.strerror})"
            raise ConfigError("metrics_port", expected, port) from error
        return int(server.server_port)

    async def measure(self, method: str, answer: Callable[[], Awaitable[Response]]) -> Response:
        """Answer a call, and count it; one that raises or is cancelled counts as 500."""
        begun, status = time.perf_counter(), 500
        self._in_flight.inc()
        try:
            response = await answer()
            status = response.status_code
            return response
        finally:
            self._in_flight.dec()
            self._seconds.labels(method).observe(time.perf_counter() - begun)
            self._requests.labels(method, str(status)).inc()

"""What the gateway counts for Prometheus, on a port of its own."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.support.gateway import GatewayProcess, gateway
from tests.support.server import ServerProcess

QUESTION = {"heads": ["Q0000001", "Q0000002"], "relations": ["P0", "P0"]}


def value(web: GatewayProcess, sample: str, **labels: str) -> float:
    """Sum of the samples of a name that have these labels."""
    return sum(
        one.value
        for family in text_string_to_metric_families(web.metrics())
        for one in family.samples
        if one.name == sample and labels.items() <= one.labels.items()
    )


def test_calls_are_counted_by_method_and_status(served: ServerProcess) -> None:
    with gateway(served.address, "--metrics-port", "0") as web:
        assert value(web, "mulde_gateway_requests_total") == 0
        for _ in range(3):
            assert web.post("/v1/PredictTails", QUESTION)[0] == 200
        assert web.post("/v1/PredictTails", {"heads": 1})[0] == 400
        assert value(web, "mulde_gateway_requests_total", method="PredictTails", status="200") == 3
        assert value(web, "mulde_gateway_requests_total", method="PredictTails", status="400") == 1
        assert value(web, "mulde_gateway_request_seconds_count", method="PredictTails") == 4
        assert value(web, "mulde_gateway_requests_in_flight") == 0


def test_the_port_of_the_page_shows_no_metrics(web: GatewayProcess) -> None:
    assert web.get("/metrics")[0] == 404
    assert "metrics_port" not in web.ready

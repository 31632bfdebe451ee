"""What is deployed: dashboard and alerts ask for metrics that exist, manifests fit the schemas."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from mulde.client import Client
from tests.packaging.test_project import ROOT
from tests.support.gateway import gateway
from tests.support.server import run_mulde, server
from tests.support.toy import toy_bundle

DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "mulde.json").read_text("utf-8"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))
ALERTS = yaml.safe_load((DEPLOY / "alerts.yaml").read_text("utf-8"))
RULES = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
PANELS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [*PANELS, *(rule for rule in RULES if "mulde_" in rule)]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A server that has answered and refused something, over gRPC and through a gateway."""
    folder = tmp_path_factory.mktemp("deploy")
    toy = toy_bundle(folder / "toy")
    with (
        server(toy.path, log=folder / "log") as process,
        Client(process.address) as client,
        gateway(process.address, "--metrics-port", "0") as web,
    ):
        client.predict_tails(["Q0000001", "nothing"], "P0")
        web.post("/v1/PredictTails", {"heads": ["Q0000001"], "relations": ["P0"]})
        yield process.get("/metrics")[1].splitlines() + web.metrics().splitlines()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_query_names_metrics_and_labels_of_server_or_gateway(
    metrics: list[str], expression: str
) -> None:
    names = re.findall(r"(?<![\w\"-])mulde_\w+", expression)
    labels = {
        label.strip()
        for group in re.findall(r"by \(([^)]*)\)", expression)
        for label in group.split(",")
    } - {"job", "instance"}
    assert names
    for name in names:
        series = [line for line in metrics if re.match(rf"{name}[ {{]", line)]
        assert series, name
        assert all(f'{label}="' in series[0] for label in labels), series[0]


def test_what_the_autoscaler_counts_is_a_metric_of_a_server(metrics: list[str]) -> None:
    (scaler,) = [one for one in MANIFESTS if one["kind"] == "HorizontalPodAutoscaler"]
    name = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert any(line.startswith(f"{name} ") for line in metrics)


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}"
)
def test_a_manifest_fits_the_schema_of_kubernetes(manifest: dict[str, Any]) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="needs apt-get install docker-compose"
)
def test_compose_takes_the_file() -> None:
    command = ["docker-compose", "-f", str(DEPLOY / "compose.yaml"), "config"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == COMPOSE["services"].keys()


def test_what_compose_mounts_is_there() -> None:
    for service in COMPOSE["services"].values():
        for mount in service.get("volumes", []):
            name = mount.split(":")[0]
            assert name in COMPOSE["volumes"] or Path(DEPLOY, name).exists(), name


def test_added_facts_lie_on_a_volume_that_the_server_can_write() -> None:
    compose = COMPOSE["services"]["mulde"]
    assert "--state=/state" in compose["command"]
    assert "state:/state" in compose["volumes"]
    image = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert "--owner=65532 --group=65532 --mode=0700 /state" in image
    folder = tomllib.loads((DEPLOY / "mulde.toml").read_text("utf-8"))["state"]["dir"]
    unit = (DEPLOY / "mulde.service").read_text("utf-8")
    assert f"StateDirectory={folder.removeprefix('/var/lib/')}\n" in unit


def test_compose_publishes_on_loopback_alone() -> None:
    ports = [port for one in COMPOSE["services"].values() for port in one.get("ports", [])]
    assert len(ports) >= 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", ["mulde", "web"])
def test_options_that_containers_are_started_with_exist(name: str) -> None:
    service = COMPOSE["services"][name]
    command = (service.get("entrypoint") or ["mulde", "serve"])[1]
    shown = run_mulde(command, "--help", COLUMNS="200", TERM="dumb").stdout
    for option in filter(lambda word: word.startswith("--"), service["command"]):
        assert option.partition("=")[0] in shown

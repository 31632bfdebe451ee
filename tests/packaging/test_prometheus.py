"""A real Prometheus scrapes a real server and gateway; dashboard and alerts are asked of it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mulde.client import Client
from tests.packaging.test_deploy import DEPLOY, PANELS
from tests.support.gateway import gateway
from tests.support.server import end, server
from tests.support.toy import toy_bundle

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None, reason="needs Prometheus (apt-get install prometheus)"
)
PATIENCE_S = 120


def promtool(*arguments: str | Path) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_valid() -> None:
    promtool("check", "config", DEPLOY / "prometheus.yaml")


def test_alerts_fire_where_they_should_and_only_there() -> None:
    promtool("test", "rules", Path(__file__).parent / "alerts.test.yaml")


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Results of an expression, in a Prometheus that watches a server while it is asked."""
    folder = tmp_path_factory.mktemp("prometheus")
    toy = toy_bundle(folder / "toy")
    with (
        server(toy.path, log=folder / "log") as process,
        gateway(process.address, "--metrics-port", "0") as web,
        Client(process.address) as client,
    ):
        ports = {"mulde": process.ready["metrics_port"], "mulde-web": web.ready["metrics_port"]}
        started, home = started_prometheus(folder, ports)

        def asked(expression: str) -> Any:
            client.predict_tails(["Q0000001", "nothing"], "P0")
            web.post("/v1/PredictTails", {"heads": ["Q0000001"], "relations": ["P0"]})
            query = urllib.parse.urlencode({"query": expression})
            with urllib.request.urlopen(f"{home}/api/v1/query?{query}", timeout=10) as response:
                return json.load(response)["data"]["result"]

        try:
            yield asked
        finally:
            end(started)


def started_prometheus(folder: Path, ports: dict[str, int]) -> tuple[subprocess.Popen[str], str]:
    """The shipped configuration with these ports and a scrape each second."""
    config = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text("utf-8"))
    config["global"]["scrape_interval"] = "1s"
    config["rule_files"] = [str(DEPLOY / "alerts.yaml")]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(PROMETHEUS), f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("w") as log:
        started = subprocess.Popen(command, stdout=log, stderr=log, text=True)
    home = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"{home}/-/ready", timeout=5):
                return started, home
        except OSError:
            if time.monotonic() > deadline or started.poll() is not None:
                end(started)
                raise
            time.sleep(0.2)


@pytest.mark.parametrize("expression", PANELS)
def test_a_panel_has_something_to_show(ask: Callable[[str], Any], expression: str) -> None:
    filled = expression.replace("$__rate_interval", "30s")
    deadline = time.monotonic() + PATIENCE_S
    while not (found := ask(filled)):
        assert time.monotonic() < deadline, "the panel stays empty"
        time.sleep(0.5)
    assert all(float(one["value"][1]) >= 0 for one in found if one["value"][1] != "NaN")


def test_no_alert_fires_for_a_server_that_answers(ask: Callable[[str], Any]) -> None:
    assert ask('ALERTS{alertstate="firing"}') == []

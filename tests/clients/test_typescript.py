"""The client for TypeScript and JavaScript, run by Node against the real gateway."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulde.client import Client
from scripts.generate import typescript
from tests.support.gateway import GatewayProcess, gateway
from tests.support.server import ServerProcess, server
from tests.support.toy import toy_bundle

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE, TSC = shutil.which("node"), shutil.which("tsc")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("typescript")
    with server(toy_bundle(folder / "toy").path, log=folder / "log") as started:
        yield started


@pytest.fixture(scope="module")
def web(process: ServerProcess) -> Iterator[GatewayProcess]:
    with gateway(process.address) as started:
        yield started


@pytest.mark.parametrize("name", list(typescript.FILES))
def test_the_generated_files_are_those_of_the_contract(name: str) -> None:
    """If this fails: python -m scripts.generate.typescript."""
    written = (typescript.FOLDER / name).read_text("utf-8")
    assert written == typescript.FILES[name]()


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_node_gets_the_answers_that_python_gets(
    process: ServerProcess, web: GatewayProcess, tmp_path: Path
) -> None:
    """Node before 22 runs no types, so the few of the example are taken away first."""
    text = (HERE / "example.mts").read_text("utf-8")
    text = text.replace("../../clients", f"{ROOT}/clients").replace(
        ", type PredictTailsResponse", ""
    )
    script = tmp_path / "example.mjs"
    script.write_text(re.sub(r": (PredictTailsResponse|unknown\[\])", "", text))
    command = [str(NODE), str(script), web.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    with Client(process.address) as client:
        answers = client.predict_tails("Q0000001", "P0", k=3)
    assert told == {
        "ids": answers.ids,
        "failed": ["UNKNOWN_ENTITY"],
        "found": "Q0000012",
        "relations": ["P0", "P1", "P2"],
        "field": "options.k",
    }


@pytest.mark.skipif(TSC is None, reason="needs tsc (npm install --global typescript)")
def test_the_example_fits_the_types() -> None:
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]
    command = [str(TSC), *options, "--skipLibCheck", "--types", "", str(HERE / "example.mts")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    wrong = [
        line for line in done.stdout.splitlines() if "process" not in line and "console" not in line
    ]
    assert wrong == []

"""What the base install and the client extra must do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVING = {
    "faiss",
    "onnxruntime",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "structlog",
}
TRAINING = {"onnx", "scipy", "sklearn", "torch"}
BLOCKED = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
for module in {modules}:
    importlib.import_module(module)
"""


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (["mulde.cli", "mulde.graph.graph", "mulde.bundle.entities.vocabulary"], {"grpc"}),
        (["mulde.client", "mulde.cli", "mulde.commands.asking.query"], set()),
    ],
    ids=["base", "client"],
)
def test_it_imports_without_the_libraries_of_other_extras(
    modules: list[str], absent: set[str]
) -> None:
    code = BLOCKED.format(modules=modules, absent=SERVING | TRAINING | absent)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

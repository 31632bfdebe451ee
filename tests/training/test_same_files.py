"""The same recipe, seed and graph give the same payload, byte for byte, from process to process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.files import CARD
from tests.contract.test_training_cli import ROOT, write_recipe
from tests.support.tiny import tiny_recipe, write_tiny_graph

TIMED = {CARD}
"""Files that tell times and dates, as the manifest does."""


def payload(graph: Path, recipe: Path, folder: Path, threads: int) -> dict[str, str]:
    """Train everything, export; digests of all files of the bundle that hold no time."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    for command in (
        ["train", recipe, "--data", graph, "--out", folder, "--only", "all"],
        ["export", folder / "junior/best.pt", "--data", graph, "-o", folder / "bundle"],
    ):
        line = [sys.executable, "-m", "mulde.cli", *map(str, command)]
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    files = open_bundle(folder / "bundle").manifest.files
    return {name: stamp.sha256 for name, stamp in files.items() if name not in TIMED}


@pytest.mark.timeout(900)
def test_two_runs_give_the_same_payload_and_another_seed_another(tmp_path: Path) -> None:
    graph = write_tiny_graph(tmp_path / "graph")
    recipe = write_recipe(tmp_path / "recipe.toml", tiny_recipe())
    other = write_recipe(tmp_path / "other.toml", tiny_recipe(seed=8))
    first = payload(graph, recipe, tmp_path / "first", 1)
    assert payload(graph, recipe, tmp_path / "second", 1) == first
    differs = payload(graph, other, tmp_path / "third", 1)
    assert differs["entities.faiss"] != first["entities.faiss"]
    one, another = (
        open_bundle(tmp_path / name / "bundle").vocabulary for name in ("first", "third")
    )
    assert list(one.entities.ids) == list(another.entities.ids)

"""``mulde data synth`` as a command: a graph to train on, a bundle that serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mulde.cli import app
from mulde.errors import ConfigError
from mulde.graph.graph import read_graph
from serving.engine.engine import Engine


def synth(*arguments: str | Path) -> None:
    CliRunner().invoke(app, ["data", "synth", *map(str, arguments)], catch_exceptions=False)


def test_a_graph_is_made_that_training_can_read(tmp_path: Path) -> None:
    synth(tmp_path / "g", "--entities", "300", "--relations", "4", "--facts-per-entity", "5")
    graph = read_graph(tmp_path / "g")
    assert graph.num_relations == 4
    lines = len(graph.all_triples) + sum(graph.duplicates.values())
    assert 1200 < lines < 1800


def test_a_bundle_is_made_that_answers(tmp_path: Path) -> None:
    synth(tmp_path / "b", "--entities", "300", "--dimension", "16", "--bundle", "--no-known")
    with Engine.open(tmp_path / "b") as engine:
        assert engine.bundle.known is None
        assert engine.manifest.dimension == 16
        assert len(engine.predict([0, 299], [0, 39], k=5).rows) == 10


@pytest.mark.parametrize(("option", "value"), [("--dimension", "12"), ("--facts-per-entity", "0")])
def test_an_option_that_cannot_be_is_named(option: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=option):
        synth(tmp_path / "g", "--entities", "300", option, value)


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="not there yet"):
        synth(tmp_path, "--entities", "300")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]

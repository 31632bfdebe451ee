"""``python -m benchmarks.synthetic``: a graph to train on, a bundle that serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmarks.synthetic.__main__ import app
from mulde.graph.graph import read_folder
from serving.engine.engine import Engine


def generate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_a_graph_is_made_that_training_can_read(tmp_path: Path) -> None:
    generate(tmp_path / "g", "--entities", "300", "--relations", "4", "--facts-per-entity", "5")
    graph = read_folder(tmp_path / "g")
    assert graph.num_relations == 4
    lines = len(graph.all_triples) + sum(graph.duplicates.values())
    assert 1200 < lines < 1800


def test_a_bundle_is_made_that_answers(tmp_path: Path) -> None:
    generate(tmp_path / "b", "--entities", "300", "--dimension", "16", "--bundle", "--no-known")
    with Engine.open(tmp_path / "b") as engine:
        assert engine.bundle.known is None
        assert engine.manifest.dimension == 16
        assert len(engine.predict([0, 299], [0, 39], k=5).rows) == 10


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [("--dimension", "12", "dimension"), ("--facts-per-entity", "0", "facts_per_entity")],
)
def test_an_impossible_option_is_named(option: str, value: str, name: str, tmp_path: Path) -> None:
    result = generate(tmp_path / "g", "--entities", "300", option, value)
    assert result.exit_code == 2
    assert name in result.output


def test_an_existing_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    assert generate(tmp_path, "--entities", "300").exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]

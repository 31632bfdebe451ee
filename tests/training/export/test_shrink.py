"""A smaller bundle from a bundle: smaller, nearly as good, and without what was left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mulde.bundle import files
from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.bundle.table.entity_table import Precision
from mulde.cli import app
from mulde.errors import BundleError, ConfigError
from mulde.graph.graph import Graph, read_folder
from serving.engine.engine import Engine
from tests.support.tiny import write_split
from tests.support.toy import toy_bundle
from training.export.table.shrink import shrink


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The best answers of a toy bundle as facts, so that a coarser table can be worse at them."""
    toy = toy_bundle(tmp_path / "toy", entities=300, dimension=16)
    engine = Engine.open(toy.path)
    names = engine.bundle.vocabulary
    heads, relations = np.arange(300), np.arange(300) % 3
    tails = engine.predict(heads, relations, 1).rows.tolist()
    facts = [
        (names.entities.ids[head], names.relations.ids[head % 3], names.entities.ids[tail])
        for head, tail in enumerate(tails)
    ]
    (tmp_path / "data").mkdir()
    for name, part in (("train", facts), ("valid", facts[::6]), ("test", facts[::5])):
        write_split(tmp_path / "data", name, part)
    return tmp_path / "data"


@pytest.fixture
def graph(data: Path) -> Graph:
    return read_folder(data)


@pytest.fixture
def bundle(graph: Graph, tmp_path: Path) -> Path:
    """The toy, of this graph."""
    toy = open_bundle(tmp_path / "toy")
    manifest = replace(toy.manifest, dataset=replace(toy.manifest.dataset, sha256=graph.digest))
    parts = {name: toy.file(name) for name in toy.manifest.files}
    write_bundle(tmp_path / "bundle", manifest, parts)
    return tmp_path / "bundle"


@pytest.mark.parametrize(
    ("precision", "least", "share"), [("int8", 0.95, 0.51), ("int4", 0.5, 0.26)]
)
def test_a_coarser_table_is_smaller_and_nearly_as_good(
    precision: Precision, least: float, share: float, bundle: Path, graph: Graph, tmp_path: Path
) -> None:
    manifest = shrink(bundle, tmp_path / "small", precision, graph)
    assert manifest.quality["test"]["tail"]["mrr"] >= least
    sizes = [(folder / files.ENTITIES).stat().st_size for folder in (bundle, tmp_path / "small")]
    assert sizes[1] - 1000 <= share * sizes[0]
    with Engine.open(tmp_path / "small") as engine:
        assert engine.predict([0, 1], [0, 1], 5).exact.all()
        assert engine.bundle.vocabulary.entities.labels[7] == "thing 7"


def test_what_is_left_out_is_not_there_and_ids_still_are(
    bundle: Path, graph: Graph, tmp_path: Path
) -> None:
    shrink(bundle, tmp_path / "small", "int8", graph, without=["labels", "types", "known"])
    opened = open_bundle(tmp_path / "small")
    assert (opened.search, opened.types, opened.known) == (None, None, None)
    assert opened.vocabulary.entities.labels[7] == "Q0000007"
    assert opened.vocabulary.entities.row("Q0000007") == 7
    assert opened.calibration is not None


def test_another_graph_another_precision_and_another_part_are_refused(
    bundle: Path, graph: Graph, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="of another graph"):
        shrink(tmp_path / "toy", tmp_path / "small", "int8", graph)
    with pytest.raises(ConfigError, match="--precision"):
        shrink(bundle, tmp_path / "small", "fp32", graph)
    with pytest.raises(ConfigError, match="--without"):
        shrink(bundle, tmp_path / "small", "int8", graph, without=["ids"])
    assert not (tmp_path / "small").exists()


def test_the_command_says_what_it_cost(bundle: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    command = ["shrink", bundle, "--data", data, "-o", out, "--precision", "int4"]
    run = CliRunner().invoke(app, [*map(str, command), "--without", "search"])
    assert run.exit_code == 0, run.output
    mrr = open_bundle(out).manifest.quality["test"]["total"]["mrr"]
    assert f"{mrr:.4f}" in run.output
    assert "int4" in run.output


def test_the_same_command_finds_its_own_bundle_and_another_one_does_not(
    bundle: Path, graph: Graph, tmp_path: Path
) -> None:
    first = shrink(bundle, tmp_path / "small", "int8", graph)
    assert shrink(bundle, tmp_path / "small", "int8", graph) == first
    with pytest.raises(BundleError, match="exists"):
        shrink(bundle, tmp_path / "small", "int4", graph)

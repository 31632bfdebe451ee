"""Probabilities and figures of a bundle made anew without its checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mulde.bundle import files
from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.cli import app
from mulde.errors import BundleError
from mulde.graph.graph import Graph, read_folder
from serving.engine.engine import Engine
from serving.engine.triples import plausibilities
from tests.support.tiny import write_split
from tests.support.toy import toy_bundle
from training.export.calibration.corruption import corrupt
from training.export.calibration.recalibrate import recalibrate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data``: the best answers of a toy as facts; ``bundle``: the toy, of this graph."""
    folder = tmp_path_factory.mktemp("recalibrate")
    toy = toy_bundle(folder / "toy", entities=300, dimension=16, traits=1, loops=())
    with Engine.open(toy.path) as engine:
        tails = engine.predict(np.arange(300), np.arange(300) % 3, 1, use_priors=False).rows
        names = engine.bundle.vocabulary
    facts = [
        (names.entities.ids[head], names.relations.ids[head % 3], names.entities.ids[tail])
        for head, tail in enumerate(tails.tolist())
    ]
    (folder / "data").mkdir()
    for name, part in (("train", facts), ("valid", facts[::3]), ("test", facts[::5])):
        write_split(folder / "data", name, part)
    opened, graph = open_bundle(folder / "toy"), read_folder(folder / "data")
    dataset = replace(opened.manifest.dataset, sha256=graph.digest)
    parts = {name: opened.file(name) for name in opened.manifest.files}
    write_bundle(folder / "bundle", replace(opened.manifest, dataset=dataset), parts)
    run = CliRunner().invoke(
        app,
        ["calibrate", f"{folder}/bundle", "--data", f"{folder}/data", "-o", f"{folder}/new"],
    )
    assert run.exit_code == 0, run.output
    assert "AUC of the plausibility" in run.output
    return folder


@pytest.fixture(scope="module")
def graph(folder: Path) -> Graph:
    return read_folder(folder / "data")


def test_the_model_stays_the_same(folder: Path) -> None:
    for name in (files.ENTITIES, files.ENCODER):
        assert (folder / "new" / name).read_bytes() == (folder / "bundle" / name).read_bytes()


def test_the_figures_tell_the_scorer_alone_from_ranking_new_facts(folder: Path) -> None:
    manifest = open_bundle(folder / "new").manifest
    figures = manifest.scorer_quality, manifest.quality
    alone, new_facts = (of["test"]["total"]["mrr"] for of in figures)
    assert alone > new_facts, "the toy's random priors only harm"
    card = (folder / "new" / files.CARD).read_text(encoding="utf-8")
    assert card == (folder / "bundle" / files.CARD).read_text(encoding="utf-8"), "no such sections"


def test_evaluate_measures_new_facts_or_the_scorer_alone(folder: Path) -> None:
    manifest = open_bundle(folder / "new").manifest
    command = ["evaluate", f"{folder}/new", "--data", f"{folder}/data", "--json"]
    for options, figures in ([], manifest.quality), (["--scorer-alone"], manifest.scorer_quality):
        run = CliRunner().invoke(app, [*command, *options])
        assert json.loads(run.stdout)["total"] == pytest.approx(figures["test"]["total"])


def test_true_facts_are_plausible_and_corrupted_ones_are_not(folder: Path, graph: Graph) -> None:
    facts = graph.train.astype(np.int64)
    wrong, _ = corrupt(graph, facts, np.random.default_rng(0))
    with Engine.open(folder / "new") as engine:
        true, false = (
            plausibilities(engine, columns, engine.triple_scores(*columns))
            for columns in (tuple(facts.T), tuple(wrong.T))
        )
    assert np.median(true) > 0.9
    assert np.median(false) < 0.1


def test_a_bundle_of_another_graph_is_refused(folder: Path, graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="of another graph"):
        recalibrate(folder / "toy", tmp_path / "out", graph)
    assert not (tmp_path / "out").exists()


def test_the_same_command_finds_its_own_bundle_and_another_one_does_not(folder: Path) -> None:
    """A command that was killed just after it published is run again."""
    before = (folder / "new" / files.MANIFEST).read_bytes()
    again = ["calibrate", f"{folder}/bundle", "--data", f"{folder}/data", "-o", f"{folder}/new"]
    assert CliRunner().invoke(app, again).exit_code == 0
    assert (folder / "new" / files.MANIFEST).read_bytes() == before
    with pytest.raises(BundleError, match="exists"):
        recalibrate(folder / "new", folder / "new", read_folder(folder / "data"))

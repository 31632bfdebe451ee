"""``mulde calibrate --choose-priors``: the two rules of ranking new facts, chosen as at export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mulde.bundle import files
from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.cli import app
from mulde.errors import BundleError
from mulde.graph.graph import read_folder
from serving.engine.engine import Engine
from tests.training.export.test_export import ENTITIES, RECIPE, train, write_ring
from training.export.calibration import train_priors
from training.export.calibration.recalibrate import recalibrate
from training.export.export import export
from training.export.table.shrink import shrink

SHORT = RECIPE.replace("epochs = 30", "epochs = 5").replace("every = 10", "every = 5")
SCORERS = [("RotH", "linear"), ("ComplEx", "bilinear"), ("RESCAL", "bilinear")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "ring"
    write_ring(folder)
    return folder


def recipe_with_rules(scorer: str, score: str) -> str:
    text = SHORT.format(scorer=scorer, score=score)
    return text.replace("below = 0.0", "below = 0.5").replace("priors = 0", "priors = 2")


def write_plain_bundle(run: Path, data: Path, out: Path, scorer: str, score: str) -> Path:
    """A bundle without rules whose recipe allows them; returns the checkpoint."""
    checkpoint = train(data, run, scorer, score, SHORT)
    export(checkpoint, data, out, name="ring")
    opened = open_bundle(out)
    parts: dict[str, bytes | Path]
    parts = {name: opened.file(name).read_bytes() for name in opened.manifest.files}
    parts[files.RECIPE] = recipe_with_rules(scorer, score).encode()
    write_bundle(out, opened.manifest, parts, overwrite=True)
    return checkpoint


def queries(bundle: Path) -> list[np.ndarray]:
    """New facts' scores and the scorer's own, of every entity and relation row."""
    with Engine.open(bundle) as engine:
        rows = np.arange(ENTITIES).repeat(4), np.tile(np.arange(4), ENTITIES)
        return [engine.scores(*rows, use_priors=priors) for priors in (True, False)]


@pytest.mark.parametrize(("scorer", "score"), SCORERS, ids=[name for name, _ in SCORERS])
def test_the_rules_chosen_again_are_those_of_an_export(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorer: str, score: str
) -> None:
    monkeypatch.setattr(train_priors, "FEWEST", 1)
    checkpoint = write_plain_bundle(tmp_path / "run", data, tmp_path / "plain", scorer, score)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe_with_rules(scorer, score), encoding="utf-8")
    expected = export(checkpoint, data, tmp_path / "expected", recipe=recipe, name="ring")
    command = ["calibrate", f"{tmp_path}/plain", "--data", str(data), "--choose-priors"]
    run = CliRunner().invoke(app, [*command, "-o", f"{tmp_path}/again"])
    assert run.exit_code == 0, run.output
    found = open_bundle(tmp_path / "again").manifest
    assert (found.loops, found.traits) == (expected.loops, expected.traits)
    assert expected.loops == ()
    assert expected.traits >= 1
    assert found.quality == expected.quality
    assert found.scorer_quality == expected.scorer_quality
    for one, other in zip(queries(tmp_path / "again"), queries(tmp_path / "expected"), strict=True):
        np.testing.assert_array_equal(one, other)
    told, card = ((tmp_path / name / files.CARD).read_text() for name in ("again", "expected"))
    assert "were chosen again on valid" in told
    named = card.split("as an answer to ")[1].split(", with a weight")[0]
    assert f"as an answer to {named}, with a weight" in told
    assert "the query's entity is left out of its own answers" in told
    after = recalibrate(tmp_path / "again", tmp_path / "after", read_folder(data))
    assert after.traits == found.traits
    assert named in (tmp_path / "after" / files.CARD).read_text(), "kept when nothing is chosen"


def test_rules_that_the_recipe_switches_off_are_taken_out(data: Path, tmp_path: Path) -> None:
    checkpoint = train(data, tmp_path / "run", "RotH", "linear", SHORT)
    export(checkpoint, data, tmp_path / "plain")
    opened = open_bundle(tmp_path / "plain")
    again = recalibrate(opened.path, tmp_path / "again", read_folder(data), priors=True)
    assert (again.loops, again.traits) == (None, 0)
    assert "All relations keep self-loops" in (tmp_path / "again" / files.CARD).read_text()
    assert "No relation prior helps" in (tmp_path / "again" / files.CARD).read_text()
    for one, other in zip(queries(tmp_path / "again"), queries(opened.path), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_table_of_bytes_is_refused(data: Path, tmp_path: Path) -> None:
    checkpoint = train(data, tmp_path / "run", "RotH", "linear", SHORT)
    export(checkpoint, data, tmp_path / "plain")
    graph = read_folder(data)
    shrink(tmp_path / "plain", tmp_path / "small", "int8", graph)
    with pytest.raises(BundleError, match="a table of fp16 or fp32; choose before mulde shrink"):
        recalibrate(tmp_path / "small", tmp_path / "again", graph, priors=True)
    assert not (tmp_path / "again").exists()

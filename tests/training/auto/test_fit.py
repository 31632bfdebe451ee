"""A fit within a time budget: always a bundle, continued after an interrupt, chosen on valid."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from mulde.bundle.bundle import open_bundle
from mulde.errors import ConfigError
from training.auto.fit import fit
from training.recipe_file import read_recipe

CPU = torch.device("cpu")


def test_a_fit_ends_with_a_bundle_and_its_recipe(data: Path, tmp_path: Path) -> None:
    manifest, told = fit(
        data, tmp_path / "ring", tmp_path / "run", name="ring", minutes=0.25, device=CPU
    )
    assert open_bundle(tmp_path / "ring").manifest.name == "ring"
    assert manifest.quality["test"]["total"]["mrr"] > 0
    recipe = read_recipe(tmp_path / "run" / "recipe.toml")
    assert recipe.junior.scorer == told.race[0]["scorer"]
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "<h2>Training</h2>" in page
    assert re.search("<h2>(Right|Wrong) answers</h2>", page)
    written = json.loads((tmp_path / "run" / "decisions.json").read_text())
    assert written["chosen"] == told.chosen in ("junior", "baseline", "race")


def test_a_fit_without_time_still_ends_with_a_bundle(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "ring", tmp_path / "run", name="ring", minutes=0.001, device=CPU)
    assert open_bundle(tmp_path / "ring").manifest.entities == 40


def test_an_odd_dimension_and_a_bundle_that_is_there_are_refused_before_any_work(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="--dimension: expected an even number, found 7"):
        fit(data, tmp_path / "b", tmp_path / "run", name="b", dimension=7, device=CPU)
    (tmp_path / "b").mkdir()
    with pytest.raises(ConfigError, match="a folder that does not exist, or --overwrite"):
        fit(data, tmp_path / "b", tmp_path / "run", name="b", device=CPU)
    assert not (tmp_path / "run").exists()


def test_a_memory_that_no_candidate_fits_into_is_refused_with_what_is_needed(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"--memory: expected at least 0\.5 \(GB\)"):
        fit(data, tmp_path / "b", tmp_path / "run", name="b", memory=0.1, device=CPU)


def test_a_fit_that_was_killed_after_it_published_finds_its_own_bundle(
    data: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "ring"
    manifest, told = fit(data, out, run, name="ring", minutes=0.001, device=CPU)
    again, told_again = fit(data, out, run, name="ring", minutes=0.001, device=CPU)
    assert again == manifest
    (run / "report.html").unlink()
    (run / ".decisions.json.draft").touch()
    fit(data, out, run, name="ring", minutes=0.001, device=CPU)
    assert (run / "report.html").exists()
    assert not (run / ".decisions.json.draft").exists()
    assert (told_again.chosen, told_again.race) == (told.chosen, told.race)
    with pytest.raises(ConfigError, match="--out"):
        fit(data, out, run, name="ring", minutes=0.001, device=CPU, seed=2)

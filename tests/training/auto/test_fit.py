"""A fit within a time budget: always a bundle, continued after an interrupt, chosen on valid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mulde.bundle.bundle import open_bundle
from training.auto.fit import fit
from training.loop import Progress
from training.recipe_file import read_recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty entities on a ring with two relations that follow from each other."""
    folder = tmp_path_factory.mktemp("ring")
    lines = [f"e{i:02}\tnext\te{(i + 1) % 40:02}" for i in range(40)]
    lines += [f"e{(i + 1) % 40:02}\tbefore\te{i:02}" for i in range(40)]
    lines += [f"e{i:02}\tskip\te{(i + 2) % 40:02}" for i in range(40)]
    order = np.random.default_rng(0).permutation(len(lines))
    shuffled = [lines[place] for place in order]
    parts = {"valid": shuffled[:8], "test": shuffled[8:16], "train": shuffled[16:]}
    for split, part in parts.items():
        (folder / f"{split}.txt").write_text("\n".join(part) + "\n")
    return folder


def test_a_fit_ends_with_a_bundle_and_its_recipe(data: Path, tmp_path: Path) -> None:
    manifest, told = fit(
        data, tmp_path / "ring", tmp_path / "run", name="ring", minutes=0.25, device=CPU
    )
    assert open_bundle(tmp_path / "ring").manifest.name == "ring"
    assert manifest.quality["test"]["total"]["mrr"] > 0
    recipe = read_recipe(tmp_path / "run" / "recipe.toml")
    assert recipe.junior.scorer == told.race[0]["scorer"]
    written = json.loads((tmp_path / "run" / "decisions.json").read_text())
    assert written["chosen"] == told.chosen in ("junior", "baseline", "race")


def test_a_fit_without_time_still_ends_with_a_bundle(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "ring", tmp_path / "run", name="ring", minutes=0.001, device=CPU)
    assert open_bundle(tmp_path / "ring").manifest.entities == 40


def test_an_interrupted_fit_continues_with_the_same_plan(data: Path, tmp_path: Path) -> None:
    def interrupt(stage: str, progress: Progress) -> None:
        if stage.startswith("teacher"):
            raise KeyboardInterrupt

    run, out = tmp_path / "run", tmp_path / "ring"
    with pytest.raises(KeyboardInterrupt):
        fit(data, out, run, name="ring", minutes=0.25, device=CPU, report=interrupt)
    planned = (run / "plan.json").read_text()
    stages: list[str] = []
    fit(
        data,
        out,
        run,
        name="ring",
        minutes=0.25,
        device=CPU,
        report=lambda stage, progress: stages.append(stage),
    )
    assert (run / "plan.json").read_text() == planned
    assert not any(stage.startswith("race") for stage in stages)

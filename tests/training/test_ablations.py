"""The ablation runner: one change each, an equal schedule, and nothing is trained twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.ablation_variants import variants_of
from benchmarks.ablations import app
from mulde.errors import ConfigError
from mulde.graph.graph import Graph
from tests.support.runs import CPU, recipe_of
from training.recipe import decisive
from training.recipe_file import read_recipe, to_toml, variant
from training.train import load_scorer, stages, train_stage

FOLDERS = [Path(__file__).parents[2] / "models" / "recipes" / kind for kind in ("best", "paper")]
RECIPES = sorted(path for folder in FOLDERS for path in folder.glob("*.toml"))
EPOCHS = 4


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_variants_have_names_of_their_own_and_change_one_thing_each(path: Path) -> None:
    base, *others = variants_of(read_recipe(path), EPOCHS)
    assert len({each.name for each in others} | {base.name}) == len(others) + 1
    assert len({each.recipe.digest for each in others} | {base.recipe.digest}) == len(others) + 1
    for each in others:
        (key,) = each.changes
        undone = variant(each.recipe, {"teachers": decisive(base.recipe)["teachers"]}, "here")
        table, _, last = key.partition(".")
        if table == "distillation":
            value = getattr(base.recipe.distillation, last)
            undone = variant(each.recipe, {key: value}, "here")
        assert undone == base.recipe
        assert each.recipe.junior_training.epochs == EPOCHS


def test_the_issue_of_each_part_is_among_them() -> None:
    names = {each.name for each in variants_of(recipe_of())}
    assert {"direct", "scaling-off", "attention-off", "choose-teachers"} <= names
    assert {"teacher-1-RotH-8", "teacher-2-TransH-8", "candidates-4", "gamma-1.5"} <= names
    assert {"temperature-0.5", "temperature-2"} <= names


def test_epochs_that_no_recipe_allows_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--epochs: junior_training\.epochs"):
        variants_of(recipe_of(), 0)


class Runner:
    """Runs the program on the tiny graph, with files in a folder."""

    def __init__(self, folder: Path, data: Path, teacher_runs: Path) -> None:
        self.folder, self.records = folder, folder / "records"
        self._recipe = folder / "tiny.toml"
        self._recipe.write_text(to_toml(recipe_of()), encoding="utf-8")
        self._data, self._teacher_runs = data, teacher_runs

    def run(self, *names: str) -> str:
        flags = [
            "--data",
            self._data,
            "--teachers",
            self._teacher_runs,
            "--out",
            self.folder / "out",
        ]
        flags += ["--epochs", EPOCHS, "--records", self.records, "--device", "cpu"]
        for name in names:
            flags += ["--only", name]
        return self.call("run", self._recipe, *flags)

    def call(self, *arguments: object) -> str:
        result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    def record(self, name: str) -> dict[str, object]:
        (path,) = self.records.glob(f"*-{name}.json")
        run: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))["run"]
        return run


@pytest.fixture
def runner(tmp_path: Path, graph_folder: Path, teacher_runs: Path) -> Runner:
    return Runner(tmp_path, graph_folder, teacher_runs)


def test_what_has_its_record_is_not_trained_again(runner: Runner) -> None:
    first = runner.run("base")
    assert "base: valid MRR" in first
    (checkpoint,) = runner.folder.glob("out/*/base/junior/best.pt")
    checkpoint.unlink()
    assert runner.run("base", "gamma-1.5").splitlines()[0] == "base: has its record"
    assert not checkpoint.exists()
    assert len(list(runner.records.iterdir())) == 2


def test_a_record_of_another_recipe_does_not_count(runner: Runner) -> None:
    runner.run("base")
    (path,) = runner.records.iterdir()
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["run"]["recipe_sha256"] = "0" * 64
    path.write_text(json.dumps(kept), encoding="utf-8")
    assert "base: valid MRR" in runner.run("base")


def test_no_distillation_is_the_baseline_of_the_recipe(runner: Runner, graph: Graph) -> None:
    runner.run("direct")
    recipe = variants_of(recipe_of(), EPOCHS)[0].recipe
    *_, baseline = stages(recipe, runner.folder / "whole")
    _, state = load_scorer(train_stage(baseline, recipe, graph, CPU), graph)
    record = runner.record("direct")
    assert record["teachers"] == []
    assert record["valid"] == state["valid"]["total"]


def test_teachers_are_those_of_the_folder(runner: Runner, teacher_runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in teacher_runs.rglob("*.pt")}
    runner.run("base", "teacher-2-TransH-8")
    assert {path: path.stat().st_mtime_ns for path in teacher_runs.rglob("*.pt")} == before
    one, two = runner.record("base"), runner.record("teacher-2-TransH-8")
    assert isinstance(one["teachers"], list)
    assert two["teachers"] == one["teachers"][1:]


def test_the_page_compares_every_row_with_the_recipe(runner: Runner) -> None:
    runner.run("direct", "base")
    runner.call("page", "--records", runner.records, "--into", runner.folder)
    text = (runner.folder / "ablations.md").read_text(encoding="utf-8")
    base, direct = (line.split(" | ") for line in text.splitlines()[-2:])
    assert (base[0], direct[0]) == ("| the recipe", "| no distillation")
    assert (base[4], base[6]) == ("", "")
    for split, place in (("valid", 4), ("test", 6)):
        ours, theirs = (runner.record(name)[split] for name in ("direct", "base"))
        assert isinstance(ours, dict)
        assert isinstance(theirs, dict)
        assert float(direct[place]) == pytest.approx(ours["mrr"] - theirs["mrr"], abs=6e-5)


def test_a_name_that_is_none_is_refused_with_those_that_are(runner: Runner) -> None:
    with pytest.raises(ConfigError, match=r"--only: expected one of base, direct, .*found 'all'"):
        runner.run("all")

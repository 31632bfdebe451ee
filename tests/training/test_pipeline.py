"""From a recipe to its models: what is trained, where, in which processes, and found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mulde.errors import CheckpointError, ConfigError, TrainingDiverged
from mulde.graph.graph import Graph
from tests.support.runs import (
    CPU,
    LEARNS,
    identical,
    recipe_of,
    same_run,
    stage_of,
    state_of,
    train,
)
from training.checkpoint import read_checkpoint, write_checkpoint
from training.loop import Progress
from training.train import (
    load_scorer,
    pick_device,
    read_record,
    stages,
    train_side_by_side,
    train_stage,
)


def teacher_folders(teacher_runs: Path, **changes: Any) -> list[str]:
    """The names of the teachers' folders."""
    found = stages(recipe_of(**changes), Path("run"), teacher_runs)
    return [stage.folder.name for stage in found if stage.name.startswith("teacher")]


# Planning


def test_stages_are_teachers_then_the_junior_with_them_then_the_baseline(
    tmp_path: Path,
) -> None:
    recipe = recipe_of()
    one, two, junior, baseline = stages(recipe, tmp_path)
    names = [stage.name for stage in (one, two, junior, baseline)]
    assert names == ["teacher 1 RotH", "teacher 2 TransH", "junior", "baseline"]
    assert junior.teachers == (one.folder / "best.pt", two.folder / "best.pt")
    assert one.folder.parent == tmp_path / "teachers"
    assert (baseline.model, baseline.training, baseline.seed, baseline.teachers) == (
        junior.model, junior.training, junior.seed, (),
    )  # fmt: skip


def test_recipes_that_share_teachers_share_their_folders(tmp_path: Path) -> None:
    plain = teacher_folders(tmp_path)
    assert teacher_folders(tmp_path, junior__dimension=2, seed=9, distillation__gamma=1.0) == plain
    assert teacher_folders(
        tmp_path, teachers=[{"scorer": "RotH", "dimension": 8, "spread": 0.1}]
    ) == [plain[0]]


@pytest.mark.parametrize(
    "change",
    [
        {"teacher_training__rate": 0.03},
        {"teachers": [{"scorer": "RotH", "dimension": 8, "spread": 0.1, "seed": 1}]},
        {"teachers": [{"scorer": "RotH", "dimension": 8, "spread": 0.2}]},
        {"teachers": [{"scorer": "RefH", "dimension": 8, "spread": 0.1}]},
    ],
)
def test_a_teacher_that_differs_has_a_folder_of_its_own(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    assert teacher_folders(tmp_path, **change)[0] != teacher_folders(tmp_path)[0]


def test_without_teachers_the_junior_is_its_baseline(tmp_path: Path, graph: Graph) -> None:
    recipe = recipe_of(teachers=[])
    junior, baseline = stages(recipe, tmp_path)
    assert replace(junior, name="baseline", folder=baseline.folder) == baseline
    for stage in (junior, baseline):
        train_stage(stage, recipe, graph, CPU)
    assert same_run(junior.folder, baseline.folder)


# Training


def test_the_junior_learns_something_else_than_its_baseline_from_the_same_start(
    tmp_path: Path, graph: Graph, teacher_runs: Path
) -> None:
    recipe = recipe_of()
    seen: dict[str, list[str]] = {}

    def report(name: str, progress: Progress) -> None:
        seen[name] = list(progress.loss)

    folders = [
        train(recipe, graph, tmp_path, n, teacher_runs, report) for n in ("junior", "baseline")
    ]
    assert seen == {"junior": ["hard", "senior", "soft"], "baseline": ["hard"]}
    models = [state_of(folder / "last.pt")["model"] for folder in folders]
    assert not identical(*models)


def test_equal_seeds_train_equal_models_and_others_others(tmp_path: Path, graph: Graph) -> None:
    found = [
        train(recipe_of(seed=seed), graph, tmp_path / place, "baseline")
        for place, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert same_run(found[0], found[1])
    models = [state_of(folder / "last.pt")["model"] for folder in found]
    assert not identical(models[0], models[2])


def test_the_junior_cannot_be_trained_before_its_teachers(tmp_path: Path, graph: Graph) -> None:
    with pytest.raises(CheckpointError, match=r"best\.pt: there is no such checkpoint"):
        train(recipe_of(), graph, tmp_path, "junior")


def test_processes_side_by_side_train_what_one_trains_and_hand_errors_on(
    tmp_path: Path, graph: Graph, teacher_runs: Path
) -> None:
    own = {"scorer": "RotH", "dimension": 8, "spread": 0.1}
    wild = {**own, "training": {"epochs": 3, "rate": 1e39, "batch": 1000, "validate_every": 1}}
    recipe = recipe_of(teachers=[wild, own])
    bad, good, *_ = stages(recipe, tmp_path)
    heard: list[tuple[str, int]] = []
    with pytest.raises(TrainingDiverged, match=r"^epoch 1: a weight is not finite$") as caught:
        train_side_by_side(
            [bad, good], recipe, graph, CPU, 2, lambda name, p: heard.append((name, p.epoch))
        )
    assert (caught.value.epoch, caught.value.kept) == (1, None)
    assert heard == [("teacher 2 RotH", epoch) for epoch in range(1, 7)]
    assert same_run(good.folder, teacher_runs / good.folder.name)


def test_one_job_trains_in_this_process(tmp_path: Path, graph: Graph, teacher_runs: Path) -> None:
    recipe = recipe_of()
    planned = stages(recipe, tmp_path)[:2]
    heard: list[str] = []
    train_side_by_side(planned, recipe, graph, CPU, 1, lambda name, p: heard.append(name))
    assert heard == ["teacher 1 RotH"] * 6 + ["teacher 2 TransH"] * 6
    for stage in planned:
        assert same_run(stage.folder, teacher_runs / stage.folder.name)


# Finding again


def test_a_loaded_scorer_scores_as_the_trained_one(
    tmp_path: Path, graph: Graph, teacher_runs: Path
) -> None:
    recipe = recipe_of(**LEARNS)
    folder = train(recipe, graph, tmp_path, teacher_runs=teacher_runs)
    scorer, state = load_scorer(folder / "best.pt", graph)
    assert identical(dict(scorer.state_dict()), state["model"])
    assert not scorer.training
    assert (scorer.num_entities, scorer.dimension) == (graph.num_entities, 8)


def test_a_scorer_of_another_graph_is_refused(tmp_path: Path, graph: Graph) -> None:
    folder = train(recipe_of(), graph, tmp_path, "baseline")
    with pytest.raises(CheckpointError, match=r"best\.pt: was trained on another graph than tiny"):
        load_scorer(folder / "best.pt", replace(graph, digest="0" * 64))


@pytest.mark.parametrize("missing", ["identity", "model"])
def test_a_checkpoint_that_lacks_its_model_is_refused(
    tmp_path: Path, graph: Graph, missing: str
) -> None:
    path = train(recipe_of(), graph, tmp_path, "baseline") / "best.pt"
    state = read_checkpoint(path)
    del state[missing]
    write_checkpoint(path, state)
    with pytest.raises(CheckpointError, match=r"best\.pt"):
        load_scorer(path, graph)


def test_a_checkpoint_whose_weights_are_another_models_is_refused(
    tmp_path: Path, graph: Graph
) -> None:
    path = train(recipe_of(), graph, tmp_path, "baseline") / "best.pt"
    state = read_checkpoint(path)
    state["identity"]["model"]["dimension"] = 6
    write_checkpoint(path, state)
    with pytest.raises(CheckpointError, match=r"best\.pt: does not hold the model it names"):
        load_scorer(path, graph)


def test_a_record_has_a_line_per_validation_and_passes_over_one_being_written(
    tmp_path: Path, graph: Graph
) -> None:
    folder = train(recipe_of(junior_training__epochs=5), graph, tmp_path, "baseline")
    with (folder / "record.jsonl").open("a") as file:
        file.write('{"epoch": 6, "mr')
    record = read_record(folder)
    assert [entry["epoch"] for entry in record] == [2, 4, 5]
    assert record[0]["valid"]["total"]["mrr"] == record[0]["mrr"]


# Devices


def test_the_automatic_device_exists() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device: expected auto, cpu or a GPU .* '{name}'"):
        pick_device(name)


def test_stages_are_found_by_name(tmp_path: Path) -> None:
    assert stage_of(recipe_of(), tmp_path, "baseline").folder == tmp_path / "baseline"

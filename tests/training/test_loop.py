"""Training: the best model is kept, any interrupt is made good, divergence is an error."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from mulde.errors import CheckpointError, TrainingDiverged
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph
from tests.support.runs import (
    HARDEST_TO_RESUME,
    LEARNS,
    identical,
    recipe_of,
    same_run,
    state_of,
    train,
)
from training.checkpoint import alone
from training.evaluate import popularity, scores_of
from training.loop import Progress, overfits
from training.recipe import Training
from training.train import load_scorer, read_record

ROOT = Path(__file__).parents[2]


class Stop(Exception):  # noqa: N818 - what it does to a run
    """Ends a run from its report."""


def stopping(epoch: int) -> Any:
    """A report that ends the run after ``epoch``."""

    def report(name: str, progress: Progress) -> None:
        if progress.epoch == epoch:
            raise Stop

    return report


@pytest.fixture(scope="module")
def whole(graph: Graph, teacher_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Junior that was never interrupted."""
    run = tmp_path_factory.mktemp("whole")
    return train(recipe_of(**HARDEST_TO_RESUME), graph, run, teacher_runs=teacher_runs)


# Choosing


def test_training_learns_more_than_popularity(graph: Graph, tmp_path: Path) -> None:
    recipe = recipe_of(**LEARNS, junior_training__epochs=20)
    record = read_record(train(recipe, graph, tmp_path, "baseline"))
    assert record[-1]["loss"]["hard"] < 0.5 * record[0]["loss"]["hard"]
    assert record[-1]["best"] > 2 * popularity(graph, "valid")["total"]["mrr"]


def test_the_best_checkpoint_is_the_one_with_the_best_valid_mrr(
    graph: Graph, tmp_path: Path
) -> None:
    recipe = recipe_of(junior_training__rate=0.2, junior_training__validate_every=1)
    folder = train(recipe, graph, tmp_path, "baseline")
    figures = [entry["mrr"] for entry in read_record(folder)]
    state = state_of(folder / "best.pt")
    assert state["progress"]["mrr"] == max(figures)
    assert state["progress"]["epoch"] == figures.index(max(figures)) + 1 < len(figures)
    scorer, _ = load_scorer(folder / "best.pt", graph)
    quality = RankingTask.of(graph, "valid").quality(scores_of(scorer))
    assert quality == state["valid"]
    assert quality["total"]["mrr"] == max(figures)


# Interrupts


@pytest.mark.parametrize("epoch", [1, 3, 4, 7])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    graph: Graph, teacher_runs: Path, whole: Path, tmp_path: Path, epoch: int
) -> None:
    recipe = recipe_of(**HARDEST_TO_RESUME)
    with pytest.raises(Stop):
        train(recipe, graph, tmp_path, teacher_runs=teacher_runs, report=stopping(epoch))
    assert same_run(train(recipe, graph, tmp_path, teacher_runs=teacher_runs), whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"junior_training__optimiser": "adagrad"},
        {"distillation__scaling": False},
        {"junior_training__adversarial_temperature": 1.0},
        {"distillation__choose": "teachers", "distillation__ask_every": 2},
    ],
    ids=str,
)
def test_other_settings_resume_as_well(
    graph: Graph, teacher_runs: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = recipe_of(**changes)
    through = train(recipe, graph, tmp_path / "through", teacher_runs=teacher_runs)
    with pytest.raises(Stop):
        train(recipe, graph, tmp_path / "stopped", teacher_runs=teacher_runs, report=stopping(3))
    assert same_run(train(recipe, graph, tmp_path / "stopped", teacher_runs=teacher_runs), through)


def killed_runs(*arguments: str | Path) -> list[str]:
    """The folders' names of the children that tests/training/interrupted.py killed."""
    command = [sys.executable, "-m", "tests.training.interrupted", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return [folder for folder, killed in lines if killed == "True"]


def test_a_run_killed_after_a_random_epoch_ends_as_one_that_was_not(
    graph: Graph, graph_folder: Path, teacher_runs: Path, whole: Path, tmp_path: Path
) -> None:
    killed = killed_runs("epochs", graph_folder, teacher_runs, tmp_path, "1")
    assert len(killed) == 2
    for name in killed:
        resumed = train(
            recipe_of(**HARDEST_TO_RESUME), graph, tmp_path / name, teacher_runs=teacher_runs
        )
        assert same_run(resumed, whole)


def test_a_run_killed_at_any_write_leaves_good_files_and_ends_as_one_that_was_not(
    graph: Graph, graph_folder: Path, teacher_runs: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(**HARDEST_TO_RESUME, junior_training__epochs=4)
    whole = train(recipe, graph, tmp_path / "whole", teacher_runs=teacher_runs)
    killed = killed_runs("events", graph_folder, teacher_runs, tmp_path)
    assert len(killed) >= 1 + 2 + 2 * 2, "the record, best.pt once, last.pt twice; two moments each"
    seen = set()
    for name in killed:
        folder = tmp_path / name / "junior"
        left = {path.name for path in folder.glob("*.pt")}
        seen.add(frozenset(left))
        for path in left:
            state_of(folder / path)
        train(recipe, graph, tmp_path / name, teacher_runs=teacher_runs)
        assert same_run(folder, whole), name
        assert [entry["epoch"] for entry in read_record(folder)] == [2, 4], name
    assert frozenset({"best.pt"}) in seen, "also between the first two checkpoints"


def test_a_finished_run_is_left_alone(graph: Graph, teacher_runs: Path, tmp_path: Path) -> None:
    recipe = recipe_of()
    folder = train(recipe, graph, tmp_path, teacher_runs=teacher_runs)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    train(recipe, graph, tmp_path, teacher_runs=teacher_runs, report=stopping(1))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_starting_anew_keeps_the_old_best_until_there_is_a_new_one(
    graph: Graph, tmp_path: Path
) -> None:
    recipe = recipe_of()
    folder = train(recipe, graph, tmp_path, "baseline")
    old = (folder / "best.pt").read_bytes()
    (folder / "last.pt").unlink()
    with pytest.raises(Stop):
        train(recipe, graph, tmp_path, "baseline", report=stopping(1))
    assert (folder / "best.pt").read_bytes() == old
    train(recipe, graph, tmp_path, "baseline")
    assert [entry["epoch"] for entry in read_record(folder)] == [2, 4, 6]


# Refusals


def test_divergence_is_an_error_that_leaves_the_last_good_checkpoint(
    graph: Graph, tmp_path: Path
) -> None:
    changes = {"rate": 1e20, "warmup": 0.99, "batch": 1000, "epochs": 40, "validate_every": 1}
    recipe = recipe_of(**{f"junior_training__{key}": value for key, value in changes.items()})
    with pytest.raises(TrainingDiverged) as caught:
        train(recipe, graph, tmp_path, "baseline")
    last = tmp_path / "baseline" / "last.pt"
    assert caught.value.kept == last
    state = state_of(last)
    assert 1 <= state["progress"]["epoch"] < caught.value.epoch
    assert all(bool(value.isfinite().all()) for value in state["model"].values())


def test_weights_that_overflow_in_the_last_step_do_not_reach_a_checkpoint(
    graph: Graph, tmp_path: Path
) -> None:
    changes = {"rate": 1e39, "batch": 1000, "validate_every": 1}
    recipe = recipe_of(**{f"junior_training__{key}": value for key, value in changes.items()})
    with pytest.raises(TrainingDiverged, match=r"epoch 1: a weight is not finite$"):
        train(recipe, graph, tmp_path, "baseline")
    assert not list((tmp_path / "baseline").glob("*.pt"))


def test_scores_that_overflow_from_finite_weights_reach_no_checkpoint(
    graph: Graph, tmp_path: Path
) -> None:
    changes = {"rate": 1e20, "batch": 1000, "validate_every": 1}
    recipe = recipe_of(**{f"junior_training__{key}": value for key, value in changes.items()})
    with pytest.raises(TrainingDiverged, match=r"epoch 1: a score is not finite$"):
        train(recipe, graph, tmp_path, "baseline")
    assert not list((tmp_path / "baseline").glob("*.pt"))


def test_a_moment_that_overflows_would_freeze_a_weight_and_is_an_error(
    graph: Graph, tmp_path: Path
) -> None:
    changes = {"rate": 3e11, "batch": 1000, "validate_every": 1}
    recipe = recipe_of(
        junior={"scorer": "ComplEx", "dimension": 4, "spread": 0.1},
        **{f"junior_training__{key}": value for key, value in changes.items()},
    )
    with pytest.raises(TrainingDiverged, match=r"a moment of the optimiser is not finite"):
        train(recipe, graph, tmp_path, "baseline")


def test_two_processes_never_train_into_one_folder(graph: Graph, tmp_path: Path) -> None:
    with (
        alone(tmp_path / "baseline"),
        pytest.raises(CheckpointError, match="another process is training into it"),
    ):
        train(recipe_of(), graph, tmp_path, "baseline")
    train(recipe_of(), graph, tmp_path, "baseline")


def test_a_finished_run_needs_nobodys_leave(graph: Graph, tmp_path: Path) -> None:
    train(recipe_of(), graph, tmp_path, "baseline")
    with alone(tmp_path / "baseline"):
        train(recipe_of(), graph, tmp_path, "baseline")


def test_a_checkpoint_of_another_recipe_is_refused_with_the_setting(
    graph: Graph, tmp_path: Path
) -> None:
    folder = train(recipe_of(), graph, tmp_path, "baseline")
    before = (folder / "last.pt").read_bytes()
    problem = (
        r"last\.pt: belongs to another run: expected identity\.training\.rate 0\.5, found 0\.02"
    )
    with pytest.raises(CheckpointError, match=problem):
        train(recipe_of(junior_training__rate=0.5), graph, tmp_path, "baseline")
    assert (folder / "last.pt").read_bytes() == before


def test_a_checkpoint_of_another_graph_is_refused(graph: Graph, tmp_path: Path) -> None:
    train(recipe_of(), graph, tmp_path, "baseline")
    other = replace(graph, digest="0" * 64)
    with pytest.raises(CheckpointError, match=r"identity\.graph"):
        train(recipe_of(), other, tmp_path, "baseline")


def test_a_damaged_checkpoint_is_refused_and_not_replaced(graph: Graph, tmp_path: Path) -> None:
    folder = train(recipe_of(), graph, tmp_path, "baseline")
    path = folder / "last.pt"
    weights = state_of(path)["model"]["entity"].numpy().tobytes()
    raw = bytearray(path.read_bytes())
    raw[raw.index(weights) + 9] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"last\.pt: is not a readable checkpoint"):
        train(recipe_of(), graph, tmp_path, "baseline")
    assert path.read_bytes() == raw


# Settings

SETTINGS: dict[str, tuple[dict[str, Any], object]] = {
    "epochs": ({}, 3),
    "batch": ({}, 16),
    "loss": ({}, "cross-entropy"),
    "penalty": ({}, 0.1),
    "negatives": ({}, 8),
    "negative_weight": ({}, 1.0),
    "adversarial_temperature": ({}, 1.0),
    "optimiser": ({}, "adagrad"),
    "rate": ({}, 0.03),
    "schedule": ({}, "cosine"),
    "warmup": ({}, 0.5),
    "validate_every": ({}, 1),
    "partition": ({"loss": "cross-entropy"}, "negatives"),
}

OF_THE_PROCESSOR = {"precision"}
"""Settings that change nothing on some machines (tests/training/test_hardware.py)."""


def test_every_setting_of_a_training_is_tried_here() -> None:
    assert {item.name for item in fields(Training)} == SETTINGS.keys() | OF_THE_PROCESSOR


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_of_a_training_changes_the_result(
    graph: Graph, tmp_path: Path, setting: str
) -> None:
    base, value = SETTINGS[setting]
    training = {
        "epochs": 2,
        "batch": 32,
        "negatives": 16,
        "rate": 0.02,
        "validate_every": 2,
        **base,
    }
    found: list[object] = []
    for settings in (training, {**training, setting: value}):
        recipe = recipe_of(
            junior={"scorer": "ComplEx", "dimension": 4, "spread": 0.1}, junior_training=settings
        )
        folder = train(recipe, graph, tmp_path / str(len(found)), "baseline")
        epochs = [entry["epoch"] for entry in read_record(folder)]
        found.append((state_of(folder / "best.pt")["model"], epochs))
    assert not identical(*found)


# A training as a whole


@pytest.mark.parametrize(
    ("has_penalty", "change"),
    [(True, "raise penalty (now 0.005)"), (False, "lower rate (now 0.1)")],
)
def test_a_model_that_falls_from_its_first_validation_on_is_told_the_key_to_change(
    has_penalty: bool, change: str
) -> None:
    settings = Training(20, rate=0.1, penalty=0.005, validate_every=5)
    fallen = Progress(20, 20, {}, 1.0, 9, mrr=0.28, best=0.31, best_epoch=5, validated=20)
    assert overfits(fallen, settings, has_penalty) == (
        "valid MRR was best at the first validation (0.3100 in epoch 5) and has fallen to 0.2800: "
        f"the model overfits; {change} in its training table"
    )


@pytest.mark.parametrize("changes", [{"best_epoch": 10}, {"mrr": 0.305}])
def test_a_model_that_was_best_later_or_fell_little_is_not_warned_about(
    changes: dict[str, Any],
) -> None:
    fallen = Progress(20, 20, {}, 1.0, 9, mrr=0.28, best=0.31, best_epoch=5, validated=20)
    assert overfits(replace(fallen, **changes), Training(20, validate_every=5), True) == ""

"""``mulde train`` and ``mulde evaluate`` as a person or a script meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mulde.cli import main
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import read_folder
from tests.support.tiny import tiny_recipe, write_tiny_graph
from training.checkpoint import read_checkpoint
from training.evaluate import scores_of
from training.recipe_file import read_recipe
from training.train import load_scorer, read_record

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def mulde(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "mulde.cli", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


def write_recipe(path: Path, values: dict[str, Any]) -> Path:
    """Plain values as TOML; JSON's scalars and arrays of scalars are TOML too."""
    lines, tables = [], []
    for key, value in values.items():
        if isinstance(value, dict):
            tables += [f"[{key}]", *(f"{name} = {json.dumps(v)}" for name, v in value.items())]
        elif isinstance(value, list):
            for item in value:
                tables += [f"[[{key}]]", *(f"{name} = {json.dumps(v)}" for name, v in item.items())]
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    path.write_text("\n".join([*lines, *tables]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def graph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny graph, in a folder with a space in its path."""
    return write_tiny_graph(tmp_path_factory.mktemp("a graph") / "tiny")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe as a file."""
    return write_recipe(tmp_path_factory.mktemp("recipes") / "tiny.toml", tiny_recipe())


@pytest.fixture(scope="module")
def trained(
    recipe: Path, graph_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run with all its models, and what the command said."""
    run = tmp_path_factory.mktemp("a run") / "tiny"
    said = mulde("train", recipe, "--data", graph_folder, "--out", run, "--only", "all")
    assert said.returncode == 0, said.stderr
    return run, said


# Training


def test_train_makes_teachers_junior_and_baseline(
    trained: tuple[Path, subprocess.CompletedProcess[str]], recipe: Path
) -> None:
    run, _ = trained
    found = sorted(path.relative_to(run).as_posix() for path in run.rglob("best.pt"))
    assert found[:2] == ["baseline/best.pt", "junior/best.pt"]
    assert [name.rpartition("-")[0] for name in found[2:]] == [
        "teachers/RotH-8", "teachers/TransH-8",
    ]  # fmt: skip
    assert (run / "recipe.toml").read_text() == recipe.read_text()


def test_train_keeps_stdout_clean_and_reports_each_validation_on_stderr(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, said = trained
    assert said.stdout == ""
    lines = said.stderr.splitlines()
    told = [line for line in lines[:-1] if ": epoch" in line]
    assert [line.partition(": epoch")[0] for line in told] == [
        *["teacher 1 RotH"] * 2, *["teacher 2 TransH"] * 2, *["junior"] * 3, *["baseline"] * 3,
    ]  # fmt: skip
    assert lines[-1] == f"models are in {run}"


def test_train_again_with_the_kept_recipe_changes_nothing(
    trained: tuple[Path, subprocess.CompletedProcess[str]], graph_folder: Path
) -> None:
    run, _ = trained
    before = {path: path.read_bytes() for path in run.rglob("*.pt")}
    kept = run / "recipe.toml"
    again = mulde("train", kept, "--data", graph_folder, "--out", run, "--only", "all")
    assert again.returncode == 0, again.stderr
    assert {path: path.read_bytes() for path in run.rglob("*.pt")} == before


def test_another_dimension_and_seed_are_kept_in_the_runs_recipe_and_its_checkpoint(
    recipe: Path, graph_folder: Path, tmp_path: Path
) -> None:
    asked = ("--data", graph_folder, "--out", tmp_path, "--only", "baseline")
    said = mulde("train", recipe, *asked, "--dimension", "8", "--seed", "5")
    assert said.returncode == 0, said.stderr
    kept = read_recipe(tmp_path / "recipe.toml")
    assert (kept.name, kept.junior.dimension, kept.seed) == ("tiny-8", 8, 5)
    identity = read_checkpoint(tmp_path / "baseline" / "best.pt")["identity"]
    assert (identity["model"]["dimension"], identity["seed"]) == (8, 5)


@pytest.mark.parametrize(
    ("flag", "value", "key"),
    [("--seed", "-1", "seed"), ("--dimension", "7", "junior.dimension")],
)
def test_a_seed_or_dimension_outside_its_range_is_one_sentence(
    recipe: Path, graph_folder: Path, tmp_path: Path, flag: str, value: str, key: str
) -> None:
    said = mulde("train", recipe, "--data", graph_folder, "--out", tmp_path / "run", flag, value)
    assert said.returncode == 1
    assert said.stderr.startswith(f"error: --dimension or --seed: {key}: expected")
    assert not (tmp_path / "run").exists()


def test_an_interrupt_is_quiet_and_leaves_a_run_that_can_go_on(
    graph_folder: Path, tmp_path: Path
) -> None:
    long = write_recipe(tmp_path / "long.toml", tiny_recipe(junior_training__epochs=100_000))
    arguments = ["train", long, "--data", graph_folder, "--out", tmp_path / "run"]
    command = [sys.executable, "-m", "mulde.cli", *map(str, arguments), "--only", "baseline"]
    pipe = subprocess.PIPE
    # A shell without job control has what it starts in the background ignore the signal.
    heeding = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stderr=pipe, stdout=pipe, text=True, preexec_fn=heeding
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        output, rest = process.communicate(timeout=60)
    assert first.startswith("baseline: epoch 2/100000"), first + rest
    assert process.returncode not in (0, None)
    assert "Traceback" not in rest
    assert output == ""
    folder = tmp_path / "run" / "baseline"
    last = read_checkpoint(folder / "last.pt")
    assert last["progress"]["epoch"] == read_record(folder)[-1]["epoch"]


# Evaluating


def test_evaluate_prints_json_alone_that_is_the_trainers_quality(
    trained: tuple[Path, subprocess.CompletedProcess[str]], graph_folder: Path
) -> None:
    checkpoint = trained[0] / "junior" / "best.pt"
    said = mulde("evaluate", checkpoint, "--data", graph_folder, "--json")
    assert said.returncode == 0, said.stderr
    figures = json.loads(said.stdout)
    assert list(figures) == ["tail", "head", "total"]
    assert all(list(row) == ["mrr", "hits@1", "hits@3", "hits@10"] for row in figures.values())
    graph = read_folder(graph_folder)
    scorer, _ = load_scorer(checkpoint, graph)
    expected = RankingTask.of(graph, "test").quality(scores_of(scorer))
    for direction, row in expected.items():
        assert figures[direction] == pytest.approx(row, abs=1e-6)


def test_evaluate_on_valid_gives_what_the_best_checkpoint_recorded(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
    graph_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = trained[0] / "baseline" / "best.pt"
    options = ["--data", str(graph_folder), "--split", "valid", "--json"]
    monkeypatch.setattr(sys, "argv", ["mulde", "evaluate", str(checkpoint), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["total"]["mrr"] == pytest.approx(read_checkpoint(checkpoint)["progress"]["mrr"])


def test_evaluate_prints_a_table_for_people(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
    graph_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = trained[0] / "baseline" / "best.pt"
    arguments = ["evaluate", str(checkpoint), "--data", str(graph_folder)]
    monkeypatch.setattr(sys, "argv", ["mulde", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ("direction", "MRR", "Hits@10", "tail", "head", "total"):
        assert word in text


# Bad input


def refusal(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The one sentence on stderr with which a command ends; nothing else may be printed."""
    monkeypatch.setattr(sys, "argv", ["mulde", *arguments])
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def bad_arguments(case: str, graph_folder: Path, run: Path, tmp_path: Path) -> list[str]:
    """A command line that is wrong in one way."""
    recipe = write_recipe(tmp_path / "tiny.toml", tiny_recipe())
    graph = write_tiny_graph(tmp_path / "kg")
    out, options = str(tmp_path / "run"), ["--only", "baseline"]
    if case == "unknown key":
        recipe = write_recipe(tmp_path / "tiny.toml", tiny_recipe(junior__size=8))
    elif case == "no recipe":
        recipe = tmp_path / "none.toml"
    elif case == "no graph":
        graph = tmp_path / "nowhere"
    elif case == "malformed line":
        with (graph / "train.txt").open("a") as file:
            file.write("e01 next e02\n")
    elif case == "unseen relation":
        with (graph / "test.txt").open("a") as file:
            file.write("e01\tnever\te02\n")
    elif case == "unknown choice":
        options = ["--only", "everything"]
    elif case == "no device":
        options += ["--device", "abacus"]
    elif case == "another recipe":
        recipe = write_recipe(tmp_path / "tiny.toml", tiny_recipe(junior_training__rate=0.5))
        graph, out = graph_folder, str(run)
    return ["train", str(recipe), "--data", str(graph), "--out", out, *options]


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ("unknown key", "tiny.toml: junior.size: expected only keys of the recipe, found 8"),
        ("no recipe", "none.toml: expected a readable TOML recipe"),
        ("no graph", "nowhere: expected a folder with train.txt, valid.txt and test.txt"),
        ("malformed line", "train.txt:80: expected 3 tab-separated fields, found 1"),
        ("unseen relation", "test.txt:12: relation 'never' does not occur in train"),
        ("unknown choice", "--only: expected one of all, teachers, junior, baseline"),
        ("no device", "device: expected auto, cpu or a GPU of this machine, found 'abacus'"),
        ("another recipe", "last.pt: belongs to another run: expected identity.training.rate 0.5"),
    ],
)
def test_train_refuses_bad_input_with_one_sentence(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
    graph_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
    problem: str,
) -> None:
    kept = (trained[0] / "recipe.toml").read_text()
    arguments = bad_arguments(case, graph_folder, trained[0], tmp_path)
    assert problem in refusal(arguments, monkeypatch, capsys)
    assert (trained[0] / "recipe.toml").read_text() == kept


@pytest.mark.parametrize(
    ("model", "options", "problem"),
    [
        ("none.pt", [], "none.pt: there is no such checkpoint"),
        ("text.pt", [], "text.pt: is not a readable checkpoint"),
        ("best.pt", ["--split", "dev"], "expected a split of"),
        ("best.pt", ["--data", "other"], "best.pt: was trained on another graph than other"),
    ],
)
def test_evaluate_refuses_bad_input_with_one_sentence(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
    graph_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
    options: list[str],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.pt").write_text("not a checkpoint")
    Path("best.pt").symlink_to(trained[0] / "junior" / "best.pt")
    with (write_tiny_graph(Path("other")) / "valid.txt").open("a") as file:
        file.write("e00\tnext\te07\n")
    arguments = ["evaluate", model, "--data", str(graph_folder), *options]
    assert problem in refusal(arguments, monkeypatch, capsys)


def test_a_refusal_ends_a_process_with_status_1_and_no_traceback(
    tmp_path: Path,
) -> None:
    said = mulde("train", tmp_path / "none.toml")
    assert said.returncode == 1
    assert said.stderr.startswith("error: ")
    assert "Traceback" not in said.stderr

"""The command line of an update: files in, the next version out, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mulde.bundle.bundle import open_bundle
from mulde.cli import app
from mulde.errors import ConfigError, DatasetError, MuldeError
from tests.training.update.conftest import NEW, Model


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """``add.csv`` with a header, and ``absent.tsv`` with a fact that the graph does not have."""
    lines = ["subject,predicate,object", *(",".join(fact) for fact in NEW)]
    (tmp_path / "add.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "absent.tsv").write_text("e00\tnext\te17\n")
    return tmp_path


def given(model: Model, files: Path, *more: str) -> list[str]:
    run = ["--run", str(files / "run"), "-o", str(files / "next")]
    return ["update", str(model.bundle), "--data", str(model.data), *run, *more]


def test_files_of_facts_become_the_next_version(model: Model, files: Path) -> None:
    more = ["--add", str(files / "add.csv"), "--epochs", "1", "--version", "7"]
    result = CliRunner().invoke(app, given(model, files, *more))
    assert result.exit_code == 0, result.output
    bundle = open_bundle(files / "next")
    assert bundle.manifest.version == "7"
    assert bundle.vocabulary.entities.rows_of_ids(["fresh"])[0] >= 0


@pytest.mark.parametrize(
    ("options", "kind", "problem"),
    [
        ([], ConfigError, "--add, --remove or --store"),
        (["--add", "add.csv", "--store", "x"], ConfigError, "neither --add nor --remove"),
        (["--store", "none.sqlite"], ConfigError, "facts.sqlite"),
        (["--remove", "absent.tsv"], DatasetError, "the graph does not have it"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(
    model: Model, files: Path, options: list[str], kind: type[MuldeError], problem: str
) -> None:
    paths = [str(files / one) if "." in one else one for one in options]
    result = CliRunner().invoke(app, given(model, files, *paths))
    assert isinstance(result.exception, kind), result.output
    assert problem in str(result.exception)
    assert not (files / "next").exists()
    assert not (files / "run" / "graph").exists()

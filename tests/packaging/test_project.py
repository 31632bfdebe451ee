"""The files that describe the project agree with each other and with what is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mulde
from tests.conftest import SLOW

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
FIND_PYTHON = ROOT / "scripts" / "find_python.sh"


def requirements() -> dict[str, Requirement]:
    """Every library that is named in pyproject.toml; those of the project itself left out."""
    groups = [
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    parsed = [Requirement(text) for group in groups for text in group]
    return {canonicalize_name(r.name): r for r in parsed if r.name != "mulde"}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


APART = {  # what `make setup` does not install
    Requirement(text).name
    for group in ("docs", "fuzz", "peers", "supply")
    for text in PROJECT["dependency-groups"][group]
}


def test_every_folder_with_modules_is_a_package() -> None:
    """Setuptools finds packages by their ``__init__.py``; a folder without one is not shipped."""
    roots = [ROOT / root for root in ("mulde", "serving", "training")]
    folders = {path.parent for root in roots for path in root.rglob("*.py")}
    assert {folder for folder in folders if not (folder / "__init__.py").exists()} == set()


@pytest.mark.parametrize("name", sorted(requirements().keys() - APART))
def test_the_tested_release_of_a_library_is_pinned_and_allowed(name: str) -> None:
    assert requirements()[name].specifier.contains(pins()[name])


def test_pins_name_releases_and_no_build_of_them() -> None:
    assert all(re.fullmatch(r"[0-9a-z.]+", version) for version in pins().values())


def test_each_library_is_explained() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    explained = {
        canonicalize_name(name.strip())
        for line in text.splitlines()
        if line.startswith("| ")
        for name in re.sub(r"\(.*?\)", "", line.split("|")[1]).split(",")
    }
    assert explained - {"library"} == set(requirements())


def test_the_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(rf"^## {re.escape(mulde.__version__)}\b", text, re.MULTILINE)


def make(*arguments: str) -> str:
    """What make prints; a make above this one has no say."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("start", SLOW)
def test_each_beginning_of_the_slow_tier_names_a_test(start: str) -> None:
    path, _, name = start.partition("::")
    found = [file for file in (ROOT / "tests").glob(f"{path}*") if file.exists()]
    assert found
    assert not name or f"def {name}" in found[0].read_text("utf-8")


def test_help_lists_every_target() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    listed = re.findall(r"^  make (\S+) +\S", make("help"), re.MULTILINE)
    assert listed == phony.split()


def test_an_unknown_build_of_torch_is_refused() -> None:
    assert "TORCH: expected cpu, cuda or plain, found 'gpu'" in make("setup", "TORCH=gpu")


def test_the_readme_names_what_continuous_integration_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    targets = re.findall(r"^make --no-print-directory (\S+)$", script, re.MULTILINE)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert targets[-1] == "check"
    assert all(f"make {target}" in readme for target in targets)
    for named in re.findall(r"(?:`|^ *)make ([a-z]+)", readme, re.MULTILINE):
        assert re.search(rf"^{named}:.*## ", MAKEFILE, re.MULTILINE), named


def programs(folder: Path, **scripts: str) -> dict[str, str]:
    """An environment whose PATH has these shell scripts only."""
    folder.mkdir()
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


def find_python(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("sh")
    assert shell is not None
    return subprocess.run([shell, FIND_PYTHON], env=environment, capture_output=True, text=True)


def test_the_first_python_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    scripts = {"git": "exit 0", "python3": "exit 1", "python3.12": "exit 0", "python3.11": "exit 0"}
    assert find_python(programs(tmp_path / "bin", **scripts)).stdout == "python3.12\n"


def test_a_python_that_is_named_is_taken_or_refused(tmp_path: Path) -> None:
    scripts = {"git": "exit 0", "python3": "exit 0", "mine": "exit 1"}
    environment = programs(tmp_path / "bin", **scripts)
    done = find_python(environment | {"PYTHON": "mine"})
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("scripts", "sentence"),
    [
        ({"python3": "exit 0"}, "error: git is needed"),
        ({"git": "exit 0", "python3": "exit 1"}, "error: Python 3.11 or newer with its venv"),
    ],
    ids=["git", "python"],
)
def test_what_is_missing_is_said_in_one_line(
    tmp_path: Path, scripts: dict[str, str], sentence: str
) -> None:
    done = find_python(programs(tmp_path / "bin", **scripts))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1

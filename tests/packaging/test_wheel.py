"""What users install: the wheel as it is built, alone in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import mulde
from mulde.bundle.bundle import open_bundle
from tests.support.toy import toy_bundle

ROOT = Path(__file__).parents[2]
PACKAGES = ("mulde", "serving", "training")
SOURCES = (*PACKAGES, "LICENSE", "NOTICE", "README.md", "pyproject.toml")
GENERATED = shutil.ignore_patterns("__pycache__")

# What reads graphs belongs to the graph extra, the gateway to web; all else must do without them.
IMPORT_ALL = """
import importlib, pkgutil, sys
import mulde, serving
for package in (mulde, serving):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith(("mulde.graph.", "serving.gateway.")):
            importlib.import_module(module.name)
            print(module.name)
assert not {"torch", "training", "onnx", "scipy", "sklearn"} & set(sys.modules)
"""

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no leftover of an earlier build gets into it."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=GENERATED)
        else:
            shutil.copy(path, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, source / "out"], check=True, cwd=source, capture_output=True)
    (made,) = (source / "out").iterdir()
    return made


@pytest.fixture(scope="module")
def inside(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment with ``mulde`` alone from the wheel."""
    return install(wheel, "", tmp_path_factory.mktemp("a bare environment"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with ``mulde[serving]``."""
    return install(wheel, "[serving]", tmp_path_factory.mktemp("an environment"))


def install(wheel: Path, extra: str, folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "pip"), "install", "--quiet"]
    pins = f"--constraint={ROOT / 'constraints.txt'}"
    done = subprocess.run([*command, pins, f"{wheel}{extra}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(environment: Path, program: str, *arguments: str | Path) -> Done:
    """Run a program away from the checkout, so that only what is installed can be imported."""
    command = [environment / program, *arguments]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, cwd=environment, env=clean)


def test_the_top_level_is_three_packages(inside: set[str]) -> None:
    top = {name.partition("/")[0] for name in inside}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)


def test_every_module_and_data_file_is_in_the_wheel(inside: set[str]) -> None:
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected == {name for name in inside if ".dist-info/" not in name}


def test_the_licence_and_notice_are_in_the_wheel(inside: set[str]) -> None:
    names = {name.rpartition("/")[2] for name in inside if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE"} <= names


def test_the_command_line_names_its_version(bare: Path) -> None:
    assert run(bare, "mulde", "--version").stdout == f"mulde {mulde.__version__}\n"


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["query", "head", "relation"], "client"),
        (["serve", "bundle"], "serving"),
        (["data", "fetch", "wn18rr"], "graph"),
        (["data", "check", str(ROOT / "data" / "wordnet-core")], "graph"),
        (["train", "recipe.toml"], "training"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_command_names_the_extra_that_it_lacks(
    bare: Path, command: list[str], extra: str
) -> None:
    done = run(bare, "mulde", *command)
    assert done.returncode == 1
    assert f"pip install mulde[{extra}]" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_all_of_serving_and_the_client_import_without_torch(environment: Path) -> None:
    done = run(environment, "python", "-c", IMPORT_ALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "serving.engine.engine" in done.stdout
    assert "mulde.client" in done.stdout


def test_it_checks_a_bundle_without_torch(environment: Path, tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy").path
    done = run(environment, "mulde", "serve", bundle, "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok: ")


def test_it_names_the_damaged_file_of_a_bundle(environment: Path, tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy").path
    index = bundle / "entities.faiss"
    index.chmod(0o644)
    index.write_bytes(index.read_bytes()[:-1])
    done = run(environment, "mulde", "serve", bundle, "--check")
    assert done.returncode == 1
    assert "entities.faiss" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_answers_a_question_without_torch(environment: Path, tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy")
    entity = open_bundle(toy.path).vocabulary.entities.ids[0]
    serve = ("serve", toy.path, "--grpc-port", "0", "--metrics-port", "-1")
    with started(environment, "mulde", *serve) as server:
        assert server.stdout is not None
        where = json.loads(server.stdout.readline())
        address = f"{where['host']}:{where['grpc_port']}"
        done = run(environment, "mulde", "query", entity, "P0", "--server", address, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        answers = json.loads(done.stdout)["answers"]
        scores = [answer["score"] for answer in answers]
        assert len(answers) > 1
        assert scores == sorted(scores, reverse=True)
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


@contextmanager
def started(
    environment: Path, program: str, *arguments: str | Path
) -> Iterator[subprocess.Popen[str]]:
    """A program that runs while the test does, and never longer."""
    with subprocess.Popen(
        [environment / program, *arguments], stdout=subprocess.PIPE, text=True, cwd=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()

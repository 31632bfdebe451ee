"""The container: not as root, libraries from the lock, a health check, what it copies is there."""

from __future__ import annotations

import re

import pytest

from tests.packaging.test_project import PROJECT, ROOT
from tests.packaging.test_supply import locked

RECIPE = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
LINES = [line for line in RECIPE.replace("\\\n", " ").splitlines() if not line.startswith("#")]
IGNORED = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text("utf-8").splitlines()


def lines(word: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(f"{word} ")]


def test_it_does_not_run_as_root_and_can_tell_whether_it_is_ready() -> None:
    last = "\n".join(LINES[[i for i, line in enumerate(LINES) if line.startswith("FROM")][-1] :])
    user = re.search(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert user is not None
    assert min(map(int, user.groups())) > 0
    (check,) = lines("HEALTHCHECK")
    assert "/readyz" in check


def test_both_stages_have_one_base_that_the_project_supports() -> None:
    bases = {line.split()[0] for line in lines("FROM")}
    assert len(bases) == 1
    version = re.fullmatch(r"python:3\.(\d+)-slim-\w+", bases.pop())
    assert version is not None
    assert f"Programming Language :: Python :: 3.{version[1]}" in PROJECT["project"]["classifiers"]


def test_libraries_come_from_the_lock_alone() -> None:
    installs = re.findall(r"/opt/mulde/bin/pip install ([^&]+)", " ".join(lines("RUN")))
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--only-binary :all:" in installs[0]
    assert {"--no-deps", "--no-index"} <= set(installs[1].split())


def test_what_is_copied_is_there_and_is_sent_to_the_builder() -> None:
    sources = [
        source
        for line in lines("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert {"mulde", "serving", "training"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in IGNORED
    assert IGNORED[0] == "*"


@pytest.mark.parametrize("name", ["faiss-cpu", "grpcio", "numpy", "onnxruntime", "pydantic-core"])
def test_the_lock_has_several_builds_of_what_is_compiled(name: str) -> None:
    """Hashes of one architecture alone would make the other refuse; `make check-arm` fetches it."""
    assert len(locked()[name][2]) >= 4

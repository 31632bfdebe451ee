"""The lock of what serving installs: complete, in step with what is tested, and with hashes."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.test_project import PROJECT, ROOT, pins

LOCK = ROOT / "deploy" / "serving.lock"
ENTRY = re.compile(r"^(\S+)==(\S+?)(?: ; (.+?))? \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)


def locked() -> dict[str, tuple[str, str, list[str]]]:
    """Name -> release, marker and hashes."""
    entries = ENTRY.findall(LOCK.read_text("utf-8"))
    return {
        name: (version, marker, re.findall(r"--hash=(\S+)", hashes))
        for name, version, marker, hashes in entries
    }


def installed_closure() -> set[str]:
    """All that ``mulde[serving,web]`` needs on this machine, by the metadata of what is here."""
    extras = PROJECT["project"]["optional-dependencies"]
    roots = [*PROJECT["project"]["dependencies"], *extras["client"]]
    roots += [*extras["serving"], *extras["web"]]
    waiting = [Requirement(text) for text in roots]
    found: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name == "mulde" or name in found:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found.add(name)
        below = importlib.metadata.requires(name) or []
        waiting += map(Requirement, below)
    return found


def test_the_lock_has_all_that_server_and_gateway_need_and_nothing_else() -> None:
    here = {
        name for name, (_, marker, _) in locked().items() if not marker or Marker(marker).evaluate()
    }
    assert here == installed_closure()


def test_the_lock_is_in_step_with_what_is_tested() -> None:
    tested = pins()
    versions = {name: version for name, (version, _, _) in locked().items()}
    assert versions == {name: tested[name] for name in versions}


def test_every_part_has_hashes_and_the_file_nothing_else() -> None:
    for name, (_, _, hashes) in locked().items():
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)
    rest = ENTRY.sub("", LOCK.read_text("utf-8")).splitlines()
    assert all(line.startswith("#") for line in rest)


def test_torch_is_not_among_them() -> None:
    assert not {"torch", "onnx", "scipy"} & locked().keys()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("Typing_Extensions", "1.0"), ("numpy", "2.0"), ("mulde", "0.1.0")], 0),
        ([("numpy", "2.0")], 1),
        ([("typing-extensions", "1.0"), ("numpy", "2.1")], 1),
        ([("typing-extensions", "1.0"), ("numpy", "2.0"), ("more", "1")], 1),
    ],
)
def test_a_list_of_parts_must_be_that_of_the_lock(
    tmp_path: Path, parts: list[tuple[str, str]], status: int
) -> None:
    sbom, lock = tmp_path / "sbom.json", tmp_path / "lock"
    listed = [{"name": name, "version": version} for name, version in parts]
    sbom.write_text(json.dumps({"components": listed}))
    lock.write_text("numpy==2.0 \\\n    --hash=sha256:0\ntyping-extensions==1.0 ; a\n")
    command: list[str | Path] = [sys.executable, ROOT / "scripts" / "check_sbom.py", sbom, lock]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == status
    assert bool(done.stderr) == bool(status)


@pytest.mark.parametrize(("covered", "status"), [(95, 0), (94, 1)])
def test_too_few_covered_lines_are_refused(tmp_path: Path, covered: int, status: int) -> None:
    totals = {
        "covered_lines": covered,
        "num_statements": 100,
        "covered_branches": 1,
        "num_branches": 2,
    }
    (tmp_path / "coverage.json").write_text(json.dumps({"totals": totals}))
    script, counted = ROOT / "scripts" / "line_coverage.py", tmp_path / "coverage.json"
    command: list[str | Path] = [sys.executable, script, counted]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout.startswith(f"lines {covered}.0 %")) == (status, True)

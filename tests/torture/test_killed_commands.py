"""Commands that make a bundle, killed just after they published it and run again."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.bundle.files import MANIFEST
from mulde.graph.graph import read_folder
from tests.support.server import ROOT, environment
from tests.support.tiny import write_split
from tests.support.toy import toy_bundle

COMMANDS = {"calibrate": (), "shrink": ("--precision", "int8")}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data``, a graph; ``bundle``, a toy of this graph."""
    work = tmp_path_factory.mktemp("work")
    toy = toy_bundle(work / "toy", entities=60)
    opened = open_bundle(toy.path)
    ids, relations = opened.vocabulary.entities.ids, opened.vocabulary.relations.ids
    facts = [(ids[n], relations[n % len(relations)], ids[(n + 1) % 60]) for n in range(60)]
    (work / "data").mkdir()
    for name, part in (("train", facts), ("valid", facts[::3]), ("test", facts[::5])):
        write_split(work / "data", name, part)
    dataset = replace(opened.manifest.dataset, sha256=read_folder(work / "data").digest)
    parts = {name: opened.file(name) for name in opened.manifest.files}
    write_bundle(work / "bundle", replace(opened.manifest, dataset=dataset), parts)
    return work


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_killed_just_after_it_published_finds_its_own_bundle(
    work: Path, command: str
) -> None:
    out = work / command
    line = [sys.executable, "-m", "mulde.cli", command, f"{work}/bundle"]
    line += ["--data", f"{work}/data", "--out", str(out), *COMMANDS[command]]
    first = subprocess.Popen(line, cwd=ROOT, env=environment(), stderr=subprocess.PIPE)
    with first:
        while not out.exists() and first.poll() is None:
            time.sleep(0.001)
        first.kill()
    before = (out / MANIFEST).read_bytes()
    again = subprocess.run(line, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (out / MANIFEST).read_bytes() == before

"""A fit that is interrupted, or whose time or disk ends, at each of its stages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mulde.bundle.bundle import open_bundle
from mulde.bundle.manifest import Manifest
from tests.training.auto.conftest import Ticks
from training.auto.decisions import Decisions
from training.auto.fit import fit
from training.loop import Progress

STAGES = ("race 1", "teacher", "junior")
EXPORTING = "distillation"
"""How the sentence begins that is said before the export."""


def run_fit(data: Path, folder: Path, ticks: Ticks, **given: Any) -> tuple[Manifest, Decisions]:
    """Fit for as long as teachers and a Junior need, of the clock's time."""
    options: dict[str, Any] = {"report": ticks.report, "now": ticks, **given}
    device = torch.device("cpu")
    return fit(
        data, folder / "b", folder / "run", name="ring", minutes=0.7, device=device, **options
    )


def decided(plan: Path) -> list[Any]:
    """What the race decided: its results, the teachers, the models; not yet the Junior's epochs."""
    found = json.loads(plan.read_bytes())
    models = [(one["teachers"], one["junior"]) for one in found["recipes"]]
    return [found["race"], found["winner"], models]


@pytest.mark.parametrize("stage", [*STAGES, EXPORTING])
def test_a_fit_interrupted_at_any_stage_goes_on_with_the_same_plan(
    data: Path, tmp_path: Path, ticks: Ticks, stage: str
) -> None:
    def interrupt(name: str, progress: Progress) -> None:
        ticks.report(name, progress)
        if name.startswith(stage) and progress.epoch == progress.epochs:
            raise KeyboardInterrupt

    def say(sentence: str) -> None:
        if sentence.startswith(stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(data, tmp_path, ticks, report=interrupt, say=say)
    assert not (tmp_path / "b").exists()
    plan = tmp_path / "run" / "plan.json"
    planned = decided(plan) if plan.exists() else None
    later = Ticks()
    run_fit(data, tmp_path, later)
    assert open_bundle(tmp_path / "b").manifest.entities == 40
    assert decided(plan) == planned or stage.startswith("race")
    again = ticks.finished & set(later.stages)
    assert not {one for one in again if not one.startswith("race")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_fit_whose_time_ends_at_any_stage_ends_with_a_bundle(
    data: Path, tmp_path: Path, ticks: Ticks, stage: str
) -> None:
    def jump(name: str, progress: Progress) -> None:
        ticks.report(name, progress)
        if name.startswith(stage):
            ticks.seconds += 1e6

    manifest, told = run_fit(data, tmp_path, ticks, report=jump)
    assert open_bundle(tmp_path / "b").manifest.name == "ring"
    assert manifest.quality["test"]["total"]["mrr"] > 0
    assert told.chosen in ("junior", "baseline", "race")
    assert any(one.startswith(stage) for one in ticks.stages)


FULL_DISK = """
import resource, signal, sys, torch
from pathlib import Path
from mulde.errors import MuldeError
from training.auto.fit import fit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[2])
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
def say(sentence):
    if sentence.startswith(sys.argv[3]):
        limit(1000)
options = dict(name="ring", minutes=0.05, device=torch.device("cpu"))
try:
    fit(Path(sys.argv[1]), folder / "b", folder / "run", **options, say=say)
except MuldeError as error:
    print(error, list(folder.glob("b")))
limit(resource.RLIM_INFINITY)
fit(Path(sys.argv[1]), folder / "b", folder / "run", **options)
"""


@pytest.mark.parametrize("before", ["race", EXPORTING], ids=["race", "export"])
def test_a_full_disk_is_named_and_the_fit_goes_on_once_there_is_room(
    data: Path, tmp_path: Path, before: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(data), str(tmp_path), before],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "cannot be written: File too large []" in done.stdout.replace("\n", " "), said
    assert open_bundle(tmp_path / "b").manifest.entities == 40


def test_a_signal_ends_the_command_without_a_traceback_and_it_goes_on(
    data: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "mulde.cli", "fit", str(data), "-o", str(tmp_path / "b")]
    command += ["--run", str(tmp_path / "run"), "--minutes", "0.05"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.glob("run/race/*/best.pt")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Traceback" not in said
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert open_bundle(tmp_path / "b").manifest.entities == 40

"""How a training shows itself: bars on a terminal, lines elsewhere, scalars where asked for."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from training.loop import Progress
from training.progress import TrainingReport

STEPS = [
    Progress(1, 4, {"hard": 0.9}, 1.0, 50),
    Progress(2, 4, {"hard": 0.7}, 2.0, 50, mrr=0.25, best=0.25, best_epoch=2, validated=2),
    Progress(3, 4, {"hard": 0.6}, 3.0, 50, mrr=0.25, best=0.25, best_epoch=2, validated=2),
    Progress(4, 4, {"hard": 0.5}, 4.0, 50, mrr=0.25, best=0.25, best_epoch=2, validated=4),
]


def shown(terminal: bool) -> str:
    """All that a run of four epochs prints."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with TrainingReport(console) as report:
        for step in STEPS:
            report("junior", step)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_there_is_one_line_for_each_validation() -> None:
    assert shown(terminal=False).splitlines() == [
        "junior: epoch 2/4, valid MRR 0.2500 (best 0.2500), 2 s",
        "junior: epoch 4/4, valid MRR 0.2500 (best 0.2500), 4 s",
    ]


def test_a_warning_and_the_error_of_a_sampled_validation_are_shown() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    last = replace(STEPS[-1], error=0.0123, warning="it overfits")
    with TrainingReport(console) as report:
        report("junior", last)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "junior: epoch 4/4, valid MRR 0.2500 ± 0.0123 (best 0.2500), 4 s",
        "junior: it overfits",
    ]


def test_a_terminal_shows_a_bar_with_the_last_figures() -> None:
    text = shown(terminal=True)
    assert "junior" in text
    assert "4/4" in text
    assert "valid MRR 0.2500 (best 0.2500)" in text


def test_a_terminal_shows_the_bars_of_the_latest_models() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=24)
    with TrainingReport(console) as report:
        for number in range(40):
            report(f"model-{number:02}", STEPS[-1])
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().rsplit("\x1b[2K", 8)  # each frame erases the lines before it
    shown = [f"model-{number:02}" for number in range(40) if f"model-{number:02}" in last[-1]]
    assert shown == [f"model-{number:02}" for number in range(32, 40)]


def interrupted(console: Console) -> None:
    """A training that its user stops."""
    with TrainingReport(console) as report:
        report("junior", STEPS[0])
        raise KeyboardInterrupt


@pytest.mark.parametrize("terminal", [True, False])
def test_an_interrupt_passes_through(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    with pytest.raises(KeyboardInterrupt):
        interrupted(console)


def test_scalars_hold_each_loss_and_each_validation_once(tmp_path: Path) -> None:
    with TrainingReport(Console(file=io.StringIO()), tmp_path) as report:
        for step in STEPS:
            report("teacher RotH", step)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "teacher-RotH")).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss/hard")]
    assert losses == [(step.epoch, pytest.approx(step.loss["hard"])) for step in STEPS]
    figures = [(event.step, event.value) for event in events.Scalars("valid/mrr")]
    assert figures == [(2, pytest.approx(0.25)), (4, pytest.approx(0.25))]

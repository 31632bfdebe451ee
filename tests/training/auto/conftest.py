"""A small graph, and time that passes by epochs alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.loop import Progress


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty entities on a ring with two relations that follow from each other."""
    folder = tmp_path_factory.mktemp("ring")
    lines = [f"e{i:02}\tnext\te{(i + 1) % 40:02}" for i in range(40)]
    lines += [f"e{(i + 1) % 40:02}\tbefore\te{i:02}" for i in range(40)]
    lines += [f"e{i:02}\tskip\te{(i + 2) % 40:02}" for i in range(40)]
    order = np.random.default_rng(0).permutation(len(lines))
    shuffled = [lines[place] for place in order]
    parts = {"valid": shuffled[:8], "test": shuffled[8:16], "train": shuffled[16:]}
    for split, part in parts.items():
        (folder / f"{split}.txt").write_text("\n".join(part) + "\n")
    return folder


class Ticks:
    """A clock for fits: each epoch takes a twentieth of a second, whatever the machine does.

    Attributes:
        stages: names of the stages that trained, in order.
        finished: names of those that reached their last epoch.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stages: list[str] = []
        self.finished: set[str] = set()

    def __call__(self) -> float:
        """Seconds."""
        return self.seconds

    def report(self, stage: str, progress: Progress) -> None:
        """Let the time of an epoch pass."""
        self.seconds += 0.05
        if stage not in self.stages[-1:]:
            self.stages.append(stage)
        if progress.epoch == progress.epochs:
            self.finished.add(stage)


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()

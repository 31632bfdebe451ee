"""What all parts of a fit share, and how each of them trains a model within the time."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mulde.errors import TrainingDiverged
from mulde.graph.graph import Graph
from training.auto.clock import Clock, OutOfTime
from training.auto.decisions import Decisions, Say
from training.recipe import Recipe
from training.train import Device, Report, Stage, read_record, train_stage

_EXPORT = 0.08
"""Share that training leaves for export and measurement."""

_LEAST_EXPORT_S, _MOST_EXPORT = 9.0, 0.35
"""Seconds that they take on the smallest graph, and the share that they have at most."""


class Trained(NamedTuple):
    """A model that may be exported: what it is called, its valid MRR, where it is, its recipe."""

    name: str
    mrr: float
    folder: Path
    recipe: Recipe


@dataclass(frozen=True)
class Fitting:
    """A fit under way.

    Attributes:
        graph: that is learnt.
        run: folder for checkpoints.
        device: where models are trained.
        clock: the whole budget.
        report: is told of every epoch.
        say: is told of every decision.
        told: where decisions are written down.
    """

    graph: Graph
    run: Path
    device: Device
    clock: Clock
    report: Report
    say: Say
    told: Decisions

    @property
    def training(self) -> Clock:
        """What is left, without the time of the export."""
        left = self.clock.left_s
        return self.clock.share(
            1 - max(_EXPORT, min(_MOST_EXPORT, _LEAST_EXPORT_S / max(left, 1e-9)))
        )

    def train(self, stage: Stage, recipe: Recipe, clock: Clock) -> float:
        """Train a model until its time is over; its best valid MRR, 0 if there is none."""
        trained = clock.left_s > 0
        if trained:
            watched = clock.watch(self.report)
            with suppress(OutOfTime, TrainingDiverged):
                train_stage(stage, recipe, self.graph, self.device, watched, self_loops=False)
        mrr = _best(stage.folder) if trained else 0.0
        row = {"model": stage.name, "valid_mrr": mrr, "folder": stage.folder.name}
        self.told.trained.append(row)
        return mrr


def _best(folder: Path) -> float:
    """Best valid MRR of a run; 0 if it was never validated."""
    if not (folder / "best.pt").exists():
        return 0.0
    record = read_record(folder)
    return float(record[-1]["best"]) if record else 0.0

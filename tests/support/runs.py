"""Short trainings on the tiny graph, and what they leave behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mulde.graph.graph import Graph
from tests.support.tiny import tiny_recipe
from training.checkpoint import read_checkpoint
from training.loop import Progress
from training.recipe import Recipe
from training.recipe_file import parse_recipe
from training.train import Stage, stages, train_stage

CPU = torch.device("cpu")
LEARNS: dict[str, Any] = {
    "junior": {"scorer": "RotH", "dimension": 8, "score": "distance", "spread": 0.1},
    "junior_training": {
        "epochs": 8, "batch": 32, "negatives": 16, "rate": 0.05, "validate_every": 2,
    },
}  # fmt: skip
"""Changes of the tiny recipe: a model that gets better from one validation to the next."""

HARDEST_TO_RESUME: dict[str, Any] = {
    **LEARNS,
    "junior_training": {
        **LEARNS["junior_training"], "schedule": "cosine", "warmup": 0.2,
    },
    "distillation": {"candidates": 8, "gamma": 0.5, "attention_period": 2.0, "ask_every": 2},
}  # fmt: skip
"""Changes of the tiny recipe: all state that a run can have."""


def recipe_of(**changes: Any) -> Recipe:
    """The tiny recipe with changes (see ``tiny_recipe``)."""
    return parse_recipe(tiny_recipe(**changes), "tiny.toml")


def stage_of(recipe: Recipe, run: Path, name: str, teacher_runs: Path | None = None) -> Stage:
    """The one stage of that name."""
    (found,) = (stage for stage in stages(recipe, run, teacher_runs) if stage.name == name)
    return found


def train(
    recipe: Recipe,
    graph: Graph,
    run: Path,
    name: str = "junior",
    teacher_runs: Path | None = None,
    report: Callable[[str, Progress], None] = lambda name, progress: None,
) -> Path:
    """Train one stage, or go on with it, and return its folder."""
    stage = stage_of(recipe, run, name, teacher_runs)
    train_stage(stage, recipe, graph, CPU, report)
    return stage.folder


def state_of(path: Path) -> dict[str, Any]:
    """A checkpoint without the seconds it took."""
    state = read_checkpoint(path)
    del state["progress"]["seconds"]
    return state


def identical(left: Any, right: Any) -> bool:
    """Whether two states are the same to the last bit."""
    if isinstance(left, torch.Tensor):
        same = left.dtype == right.dtype and torch.equal(left, right)
        return same and not bool(left.is_floating_point() and left.isnan().any())
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(identical(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        pairs = zip(left, right, strict=True)
        return len(left) == len(right) and all(identical(a, b) for a, b in pairs)
    return bool(left == right)


def same_run(left: Path, right: Path) -> bool:
    """Whether two runs' folders hold the same checkpoints."""
    names = ("best.pt", "last.pt")
    return all(identical(state_of(left / name), state_of(right / name)) for name in names)

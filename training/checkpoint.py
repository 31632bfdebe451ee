"""Checkpoints: resumable states, written whole or not at all, read without unpickling code.

``last.pt`` resumes a run; ``best.pt`` holds the weights with the best valid MRR. Both say which
recipe, graph and model they belong to.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from mulde.errors import CheckpointError

FORMAT = 1


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write beside, sync, rename: a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted, so no code can run.

    Raises:
        CheckpointError: if it is missing, damaged, holds anything else or is of another format.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(path, "there is no such checkpoint") from error
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(path, f"is not a readable checkpoint: {first}") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise CheckpointError(path, f"expected checkpoint format {FORMAT}, found {found!r}")
    return state


def expect(path: Path, state: dict[str, Any], **facts: object) -> None:
    """Refuse a checkpoint that belongs to another recipe, graph or model.

    Raises:
        CheckpointError: naming the fact that differs.
    """
    for name, wanted in facts.items():
        if state.get(name) != wanted:
            problem = f"belongs to another {name}: expected {wanted!r}, found {state.get(name)!r}"
            raise CheckpointError(path, problem)

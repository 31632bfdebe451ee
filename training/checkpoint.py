"""Checkpoints: resumable states, written whole or not at all, read without unpickling code.

``last.pt`` resumes a run; ``best.pt`` holds the weights with the best valid MRR. Both say which
recipe, graph and model they belong to.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mulde.errors import CheckpointError, shorten
from mulde.storage.atomic import new_file, try_lock, unlock

FORMAT = 1

_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
)
"""What zipfile and torch raise for bytes that are not what was written."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a crash leaves the old file or the new one.

    Raises:
        CheckpointError: if it cannot be written, for want of space perhaps; the old file stays.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as draft, draft.open("wb") as file:
            _save({"format": FORMAT, **state}, file)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell a full disk or a folder that may not be written as an error of our own.

    Raises:
        CheckpointError: naming ``path``.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(path, f"cannot be written: {error.strerror or error}") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder: two processes that train into it would spoil each other's checkpoints.

    The lock goes with the process, however that ends, and leaves no file.

    Raises:
        CheckpointError: if another process has it.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = try_lock(folder)
    if lock is None:
        raise CheckpointError(folder, "another process is training into it")
    try:
        yield
    finally:
        unlock(lock)


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:  # of its archive's positions; the reason stands behind it
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted, so no code can run.

    Raises:
        CheckpointError: if it is missing, damaged, holds anything else or is of another format.
    """
    try:
        _verify(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(path, "there is no such checkpoint") from error
    except pickle.UnpicklingError as error:
        problem = "holds more than tensors and plain values, so it was not read"
        raise CheckpointError(path, problem) from error
    except _DAMAGED as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(path, f"is not a readable checkpoint: {first}") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise CheckpointError(path, f"expected checkpoint format {FORMAT}, found {shorten(found)}")
    checked: dict[str, Any] = state
    return checked


def _verify(path: Path) -> None:
    """Check the sums that torch writes into its archive and does not look at when it reads."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} is damaged")


def expect(path: Path, found: object, wanted: object, key: str) -> None:
    """Refuse a checkpoint that belongs to another recipe, graph or model.

    Args:
        path: for the error.
        found: a plain value of the checkpoint; tables are compared key by key.
        wanted: what it has to be.
        key: what it is called.

    Raises:
        CheckpointError: naming the first key that differs.
    """
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in [*wanted, *(name for name in found if name not in wanted)]:
            expect(path, found.get(name), wanted.get(name), f"{key}.{name}")
    elif found != wanted:
        facts = f"expected {key} {shorten(wanted)}, found {shorten(found)}"
        raise CheckpointError(path, f"belongs to another run: {facts}")

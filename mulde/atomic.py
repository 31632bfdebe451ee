"""Folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary sibling of ``target`` to fill; removed on leaving, unless it was published.

    Its name starts with a dot, so whatever a crash leaves behind is never taken for a bundle.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{target.name}.{secrets.token_hex(6)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path, *, overwrite: bool) -> None:
    """Give a filled folder its name, once everything in it is on the disk.

    With ``overwrite``, an existing target is exchanged for the new one in a single step where the
    system can (Linux); elsewhere the old one steps aside first, and a crash just then leaves it
    under a name with a dot beside the target.

    Raises:
        FileExistsError: if the target exists and may not be overwritten.
    """
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)
    exists = target.is_symlink() or target.exists()
    if exists and not overwrite:
        raise FileExistsError(target)
    if not exists:
        folder.rename(target)
    elif not _exchange(folder, target):
        old = folder.with_name(folder.name + ".old")
        target.rename(old)
        folder.rename(target)
        old.rename(folder)
    _sync(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

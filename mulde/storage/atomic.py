"""Folders and files that appear whole or not at all.

A folder is filled under another name beside its place and then renamed. Its writer holds a lock on
it as long as it lives; so the next writer of the same place can tell what a crash has left behind,
and removes it. Where a file system cannot lock folders, that is left to people.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_OLD = ".old"


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary sibling of ``target`` to fill; removed on leaving, unless it was published.

    Its name starts with a dot, so whatever a crash leaves behind is never taken for a bundle.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{target.name}.{secrets.token_hex(6)}"
    with _locked(target.parent, wait=True) as alone:  # nobody takes it for a leftover meanwhile
        if alone:
            _sweep(target)
        folder.mkdir()
        lock = _lock(folder, wait=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unlock(lock)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A temporary sibling of ``target`` to write; on leaving without an error it takes that name.

    One process at a time may write a target: the temporary name is always the same, so that what
    a crash leaves behind is written over by the next try.
    """
    draft = target.with_name(f".{target.name}.draft")
    try:
        yield draft
        _sync(draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    _sync(target.parent)


def publish(folder: Path, target: Path, *, overwrite: bool) -> None:
    """Give a filled folder its name, once everything in it is on the disk.

    With ``overwrite``, an existing target is exchanged for the new one in a single step where the
    system can (Linux); elsewhere the old one steps aside first, and after a crash just then the
    next writer puts it back.

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
        old = folder.with_name(folder.name + _OLD)
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


def _sweep(target: Path) -> None:
    """Remove what writers of this place left behind when they died."""
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{12}}")
    for path in list(target.parent.iterdir()):
        if name.fullmatch(path.name.removesuffix(_OLD)) and path.is_dir():
            _remove_if_dead(path, target)


def _remove_if_dead(path: Path, target: Path) -> None:
    """Remove a folder that no living writer holds; a target that had stepped aside comes back."""
    writer = path.with_name(path.name.removesuffix(_OLD))
    with _locked(writer if writer.is_dir() else path, wait=False) as free:
        if not free:
            return
        if path.name.endswith(_OLD) and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a folder; tells whether it is held."""
    lock = _lock(folder, wait=wait)
    try:
        yield lock is not None
    finally:
        _unlock(lock)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Take the lock of a folder; None if another has it, or the file system has no such locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

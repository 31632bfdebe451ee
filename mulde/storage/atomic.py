"""Files and folders that appear whole or not at all, and locks between processes.

A folder is filled under a temporary name beside its place and then renamed. Its writer holds a lock
on the temporary folder while it lives, so that the next writer of the same place recognises what a
crash has left, and removes it. Where a file system cannot lock folders, leftovers stay.
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
def new_file(target: Path) -> Iterator[Path]:
    """A temporary sibling of ``target`` to write; on leaving without an error it takes that name.

    One process at a time may write a target: the temporary name is always the same, so that the
    next try writes over what a crash has left.
    """
    draft = target.with_name(f".{target.name}.draft")
    try:
        yield draft
        replace_file(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def replace_file(draft: Path, target: Path) -> None:
    """Give a written file its name, once its content is on the disk."""
    _sync(draft)
    draft.replace(target)
    _sync(target.parent)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary sibling of ``target`` to fill; removed on leaving, unless it was published.

    Its name starts with a dot, so that what a crash leaves is never taken for a bundle.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{target.name}.{secrets.token_hex(6)}"
    lock: int | None = None
    try:  # an interrupt may come as soon as the folder is there
        with _held(target.parent, wait=True) as held:  # no other writer takes it for a leftover
            if held:
                _sweep(target)
            folder.mkdir()
            lock = _lock_if_possible(folder, wait=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        unlock(lock)


def publish(folder: Path, target: Path, *, overwrite: bool) -> None:
    """Give a filled folder its name, once its content is on the disk.

    With ``overwrite``, an existing target is exchanged for the new one in a single step where the
    system can (Linux); elsewhere the old one is renamed first, and after a crash at that moment the
    next writer renames it back.

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


def try_lock(path: Path) -> int | None:
    """Lock a file, which is made if need be, or a folder; None if another process holds it.

    The lock ends with ``unlock`` or with the process.

    Raises:
        OSError: if the path cannot be opened, or the file system has no locks.
    """
    try:
        return _lock(path, wait=False)
    except BlockingIOError:
        return None


def unlock(lock: int | None) -> None:
    """Release what ``try_lock`` returned."""
    if lock is not None:
        os.close(lock)


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
    """Remove what writers of this place left when they died."""
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{12}}")
    for path in list(target.parent.iterdir()):
        if name.fullmatch(path.name.removesuffix(_OLD)) and path.is_dir():
            _remove_if_dead(path, target)


def _remove_if_dead(path: Path, target: Path) -> None:
    """Remove a folder that no living writer holds; a target that was renamed gets its name back."""
    writer = path.with_name(path.name.removesuffix(_OLD))
    with _held(writer if writer.is_dir() else path, wait=False) as held:
        if not held:
            return
        if path.name.endswith(_OLD) and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _held(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a folder; yields whether it is held."""
    lock = _lock_if_possible(folder, wait=wait)
    try:
        yield lock is not None
    finally:
        unlock(lock)


def _lock_if_possible(folder: Path, *, wait: bool) -> int | None:
    try:
        return _lock(folder, wait=wait)
    except OSError:
        return None


def _lock(path: Path, *, wait: bool) -> int:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

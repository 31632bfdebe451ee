"""Small JSON files that processes share: atomic, with a format number and a digest.

The files do not outlive the machine, so they are not synced to the disk.
"""

from __future__ import annotations

import fcntl
import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from mulde.errors import BundleError

_FORMAT = 1


def try_lock(handle: int) -> bool:
    """Take the lock of an open file; whether it was free."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def stamp(path: Path) -> int:
    """Return a number that differs after each write or touch; 0 where there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0
    return hash((status.st_ino, status.st_mtime_ns))


def write_state(path: Path, content: dict[str, Any]) -> None:
    """Write a file that readers see whole or not at all."""
    text = json.dumps(content, sort_keys=True)
    whole = {"format": _FORMAT, "sha256": sha256(text.encode()).hexdigest(), "content": content}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(whole), "ascii")
    draft.replace(path)


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the content of a file; None where there is none.

    Raises:
        BundleError: if it is damaged or of another format.
    """
    try:
        whole = json.loads(path.read_text("ascii"))
        content: dict[str, Any] = whole["content"]
        text = json.dumps(content, sort_keys=True)
        if whole["format"] != _FORMAT or whole["sha256"] != sha256(text.encode()).hexdigest():
            raise ValueError("another format or digest")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(path, f"expected a state file of format {_FORMAT} ({error})") from error
    return content

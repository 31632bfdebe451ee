"""Which job made a bundle: one that was killed after it published finds its own result.

The manifest keeps a digest of the command and of all that decides the result. The same command with
the same inputs takes such a bundle for its own, instead of refusing to overwrite it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import mulde
from mulde.bundle.bundle import read_manifest
from mulde.bundle.files import stamp_of
from mulde.bundle.manifest import Manifest
from mulde.errors import BundleError


def job_of(command: str, **inputs: Any) -> str:
    """Return the SHA-256 of a command and its inputs, plain values or paths of files and folders.

    A file stands for its bytes, a folder for the names and bytes of the files in it.
    """
    facts = {"command": command, "release": mulde.__version__, **inputs}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_plain).encode()).hexdigest()


def own_result(directory: Path, job: str) -> Manifest | None:
    """Return the manifest of the bundle that this job has published; None if there is none."""
    try:
        manifest = read_manifest(directory)
    except BundleError:
        return None
    return manifest if manifest.job == job else None


def _plain(value: object) -> object:
    if isinstance(value, Path) and value.is_dir():
        return {path.name: _plain(path) for path in value.iterdir() if path.is_file()}
    if isinstance(value, Path) and value.is_file():
        return stamp_of(value).sha256
    return str(value)

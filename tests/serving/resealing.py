"""Bundles whose files were changed on purpose, with digests to match."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mulde.bundle.draft import Draft
from mulde.bundle.files import MANIFEST
from mulde.bundle.manifest import Index, IndexType, Manifest


def reseal(folder: Path) -> None:
    """Stamp and bind a bundle again, so that only what reads the changed file can notice."""
    path = folder / MANIFEST
    manifest = Manifest.from_json(path, path.read_bytes())
    Draft(folder, folder, overwrite=True).seal(manifest, rebind=True)


def with_index(folder: Path, kind: IndexType) -> None:
    """Have a bundle searched by an index type."""
    path = folder / MANIFEST
    manifest = Manifest.from_json(path, path.read_bytes())
    Draft(folder, folder, overwrite=True).seal(replace(manifest, index=Index(kind)), rebind=True)

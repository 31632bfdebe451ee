"""The files of a bundle: their names, their stamps, and whether a folder is what it says."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from stat import S_ISREG
from typing import TypeAlias

from mulde.bundle.manifest import NAME, FileStamp, Manifest
from mulde.errors import BundleError, shorten

MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
ENCODER = "encoder.onnx"
ENTITIES = "entities.faiss"
CANDIDATES = "candidates.faiss"
MEASURES = "measures.bin"
VOCABULARY = "vocabulary.bin"
KNOWN = "known.bin"
TYPES = "types.bin"
SEARCH = "search.bin"
CALIBRATION = "calibration.json"
CARD = "card.md"
RECIPE = "recipe.toml"

REQUIRED = frozenset({ENCODER, ENTITIES, VOCABULARY})
OPTIONAL = frozenset({CANDIDATES, MEASURES, KNOWN, TYPES, SEARCH, CALIBRATION, CARD, RECIPE})

_MAX_MANIFEST_BYTES = 1 << 20

Identity: TypeAlias = tuple[int, int, int]


def identity_of(folder: Path) -> Identity:
    """Which folder lies at a path: device, inode, and the time of the inode's last change.

    A number of an inode is soon used again; the time is renewed by renaming a folder to its place.

    Raises:
        BundleError: if there is none.
    """
    try:
        status = folder.stat()
    except OSError as error:
        raise BundleError(folder, f"expected the folder of a bundle: {error.strerror}") from error
    return status.st_dev, status.st_ino, status.st_ctime_ns


def check_names(folder: Path, names: set[str]) -> None:
    """Refuse a bundle without what it must have, or with what the format does not know."""
    for name in sorted(REQUIRED - names):
        raise BundleError(folder / name, "a bundle must have this file")
    for name in sorted(names - REQUIRED - OPTIONAL):
        raise BundleError(folder / shorten(name), "this file is not part of the format")


def check_listing(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder that is not exactly what its manifest lists, as regular files."""
    check_names(folder, set(manifest.files))
    expected = {*manifest.files, MANIFEST, DIGEST}
    try:
        _check_files(folder, manifest, expected)
    except OSError as error:  # it is being replaced, or the disk is bad
        raise BundleError(folder, f"cannot be read: {error}") from error


def _check_files(folder: Path, manifest: Manifest, expected: set[str]) -> None:
    with os.scandir(folder) as entries:
        found = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    for name in sorted(expected | set(found)):
        where = folder / (name if NAME.fullmatch(name) else shorten(name))
        if name not in found:
            raise BundleError(where, "the manifest lists this file, but it is missing")
        if name not in expected:
            raise BundleError(where, "the manifest does not list this file")
        if not found[name]:
            raise BundleError(where, "expected a regular file, found a link or a folder")
        size = manifest.files[name].bytes if name in manifest.files else None
        if size is not None and size != (folder / name).stat().st_size:
            found_bytes = (folder / name).stat().st_size
            raise BundleError(where, f"expected {size} bytes, found {found_bytes}")


def check_stamp(path: Path, expected: FileStamp) -> None:
    """Refuse a file whose content is not what the manifest says."""
    found = stamp_of(path)
    if found != expected:
        raise BundleError(path, f"expected SHA-256 {expected.sha256}, found {found.sha256}")


def stamp_of(path: Path) -> FileStamp:
    """Size and digest, read as a stream."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return FileStamp(file.tell(), digest)
    except OSError as error:
        raise BundleError(path, f"cannot be read: {error}") from error


def manifest_digest(folder: Path) -> str:
    """SHA-256 of a bundle's manifest, as the folder states it; it names all that the bundle holds.

    Raises:
        BundleError: if it cannot be read.
    """
    return read_small(folder / DIGEST).decode("ascii", "replace").strip()


def read_small(path: Path) -> bytes:
    """A file that must be regular and small."""
    try:
        status = path.lstat()
        if not S_ISREG(status.st_mode) or status.st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(path, f"expected a file of at most {_MAX_MANIFEST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(path, f"cannot be read: {error}") from error

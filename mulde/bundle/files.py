"""The files of a bundle: names, sizes, digests, and the check of a folder against its manifest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from stat import S_ISREG
from typing import TypeAlias

from mulde.bundle.entities.descriptions import MAX_DESCRIPTION_BYTES
from mulde.bundle.manifest import NAME, FileStamp, Manifest
from mulde.bundle.table.entity_table import NUMBER_BITS
from mulde.errors import BundleError, shorten
from mulde.storage.strings import MAX_BYTES

MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
ENCODER = "encoder.onnx"
ENTITIES = "entities.faiss"
CANDIDATES = "candidates.faiss"
MEASURES = "measures.bin"
VOCABULARY = "vocabulary.bin"
KNOWN = "known.bin"
RULES = "rules.bin"
TYPES = "types.bin"
SEARCH = "search.bin"
MAP = "map.bin"
DESCRIPTIONS = "descriptions.bin"
CALIBRATION = "calibration.json"
CARD = "card.md"
RECIPE = "recipe.toml"

REQUIRED = frozenset({ENCODER, ENTITIES, VOCABULARY})
OPTIONAL = frozenset(
    {
        CANDIDATES,
        MEASURES,
        KNOWN,
        RULES,
        TYPES,
        SEARCH,
        MAP,
        DESCRIPTIONS,
        CALIBRATION,
        CARD,
        RECIPE,
    }
)

_MAX_MANIFEST_BYTES = 1 << 20
_ANY_FILE_BYTES = 64 << 20
"""Files of up to this size are always accepted: hashing one takes a fraction of a second."""

Identity: TypeAlias = tuple[int, int, int]


def identity_of(folder: Path) -> Identity:
    """Identify the folder at a path: device, inode, and the time of the inode's last change.

    Numbers of inodes are used again; renaming a folder to its place renews the time.

    Raises:
        BundleError: if there is none.
    """
    try:
        status = folder.stat()
    except OSError as error:
        raise BundleError(folder, f"expected the folder of a bundle: {error.strerror}") from error
    return status.st_dev, status.st_ino, status.st_ctime_ns


def check_names(folder: Path, names: set[str]) -> None:
    """Refuse a bundle that lacks a required file or has one that is not part of the format."""
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
    except OSError as error:  # it is being replaced, or the disk fails
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
        if name in manifest.files:
            _check_size(where, manifest, name)


def _check_size(path: Path, manifest: Manifest, name: str) -> None:
    """Refuse a file of another size than its stamp's, or larger than the model's shape allows."""
    found, stated = path.stat().st_size, manifest.files[name].bytes
    if found != stated:
        raise BundleError(path, f"expected {stated} bytes, found {found}")
    limit = size_limit(name, manifest)
    if found > limit:
        shape = f"{manifest.entities} entities and {manifest.relations} relations"
        raise BundleError(path, f"expected at most {limit} bytes for {shape}, found {found}")


def size_limit(name: str, manifest: Manifest) -> int:
    """More bytes than a file of a model of this shape can have."""
    entities, width, lists = manifest.entities, manifest.width, manifest.index.cells
    facts = entities + sum(manifest.dataset.counts.values())
    by_shape = {
        ENCODER: 16 * manifest.relations * width * width,
        ENTITIES: entities * width * NUMBER_BITS[manifest.precision] // 8,
        CANDIDATES: (entities + lists) * (4 * width + 64),
        MEASURES: lists * (4 * width + 64),
        VOCABULARY: (entities + manifest.relations) * 2 * (MAX_BYTES + 64),
        KNOWN: 64 * facts,
        TYPES: 64 * facts,
        SEARCH: 16 * entities,
        MAP: 8 * entities,
        DESCRIPTIONS: entities * (MAX_DESCRIPTION_BYTES + 64),
    }
    return _ANY_FILE_BYTES + by_shape.get(name, 0)


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
    """SHA-256 of a bundle's manifest, as ``manifest.sha256`` states it; it identifies the bundle.

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

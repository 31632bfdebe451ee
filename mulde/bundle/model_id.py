"""The model's id, which binds the files of a bundle to each other.

The id is the SHA-256 of ``entities.faiss``. Since format 3 every other file that belongs to a model
holds it: ``.bin`` files in the section ``model_id``, ``calibration.json`` in the field of that
name, ``encoder.onnx`` in its metadata. Files of two models do not open as one bundle, even if the
manifest was written anew for them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from mulde.bundle.files import (
    CALIBRATION,
    CANDIDATES,
    CARD,
    ENCODER,
    ENTITIES,
    OPTIONAL,
    RECIPE,
    REQUIRED,
)
from mulde.errors import BundleError
from mulde.storage.container import UNSET_ID, read_model_id, write_model_id
from mulde.storage.json_document import load_json

FIRST_FORMAT = 3
CARRIERS = (REQUIRED | OPTIONAL) - {ENTITIES, CANDIDATES, CARD, RECIPE}
"""All but the tables of FAISS, whose format has no place for an id, and texts for people."""

# ModelProto.metadata_props is field 14; an entry has a key (field 1) and a value (field 2).
_KEY = b"mulde_model_id"
_DIGITS = 64
_ENTRY_HEAD = (
    bytes([14 << 3 | 2, 4 + len(_KEY) + _DIGITS, 1 << 3 | 2, len(_KEY)])
    + _KEY
    + bytes([2 << 3 | 2, _DIGITS])
)
_ENTRY_BYTES = len(_ENTRY_HEAD) + _DIGITS


def check_ids(folder: Path, names: Iterable[str], model_id: str) -> None:
    """Refuse files of another model.

    Raises:
        BundleError: naming the first file whose id is not ``model_id``.
    """
    for name in sorted(CARRIERS.intersection(names)):
        found = _read(folder / name)
        if found != model_id:
            problem = f"expected a file of the model {model_id}, found one of {found or 'none'}"
            raise BundleError(folder / name, problem)


def write_ids(folder: Path, names: Iterable[str], model_id: str, *, rebind: bool) -> None:
    """Write the id into the files that have none yet.

    Args:
        folder: of the files.
        names: of the files.
        model_id: SHA-256 of the table.
        rebind: also replace ids of other models.

    Raises:
        BundleError: naming the first file of another model, unless ``rebind``; or one without
            room for an id, which an older release wrote.
    """
    for name in sorted(CARRIERS.intersection(names)):
        if rebind or not _read(folder / name):
            _write(folder / name, model_id)
    check_ids(folder, names, model_id)


def _read(path: Path) -> str:
    """The id in a file; empty if it is not set or has no room."""
    try:
        if path.name == ENCODER:
            return _read_encoder(path)
        if path.name == CALIBRATION:
            found = _read_calibration(path).get("model_id", "")
            return found if isinstance(found, str) else ""
        stored = read_model_id(path)
    except OSError as error:
        raise BundleError(path, f"cannot be read: {error}") from error
    return "" if stored in (None, UNSET_ID) else stored.hex()


def _write(path: Path, model_id: str) -> None:
    if path.name == ENCODER:
        _write_encoder(path, model_id)
    elif path.name == CALIBRATION:
        content = {**_read_calibration(path), "model_id": model_id}
        path.write_text(json.dumps(content, sort_keys=True) + "\n", encoding="utf-8")
    else:
        write_model_id(path, bytes.fromhex(model_id))


def _read_calibration(path: Path) -> dict[str, object]:
    content = load_json(path, path.read_bytes())
    return content if isinstance(content, dict) else {}


def _read_encoder(path: Path) -> str:
    """The metadata entry is the last field of the file, so no ONNX reader is needed."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _ENTRY_BYTES))
        entry = file.read()
    text = entry[len(_ENTRY_HEAD) :].decode("ascii", "replace")
    return text if entry.startswith(_ENTRY_HEAD) else ""


def _write_encoder(path: Path, model_id: str) -> None:
    """Append the metadata entry, or replace it; a protobuf message may end with any field."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - _ENTRY_BYTES if _read_encoder(path) else size)
        file.write(_ENTRY_HEAD + model_id.encode("ascii"))

"""Records of what was measured: a JSON file each, read again for a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mulde.storage.atomic import new_file


def write_json(path: Path, content: Any) -> None:
    """Write a file, whole or not at all; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as draft:
        draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_records(folder: Path) -> list[Any]:
    """All records of a folder, in the order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def read_by_size(folder: Path) -> list[Any]:
    """All records of a folder, in the order of their ``entities``."""
    return sorted(read_records(folder), key=lambda record: record["entities"])

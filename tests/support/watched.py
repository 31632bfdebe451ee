"""A writer of folders that is watched at whatever it does to files; not a test.

``python -m tests.support.watched KIND SOURCE TARGET`` has one written to TARGET, and prints what a
reader could have found there: a line of JSON for each thing done to files anywhere beside it, null
where there was nothing yet, else a digest of each file by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mulde.bundle.draft import write_bundle
from mulde.graph.reading.read import read_graph
from mulde.graph.splitting.split import split_graph
from tests.support.toy import toy_bundle

_DOES_TO_FILES = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"})

Found = dict[str, str] | None


def _bundle(source: Path, target: Path) -> None:
    toy_bundle(target, entities=30, seed=1, overwrite=True)


def _copied_bundle(source: Path, target: Path) -> None:
    from mulde.bundle.bundle import open_bundle

    bundle = open_bundle(toy_bundle(source, entities=30, seed=2))
    files = {name: source / name for name in bundle.manifest.files}
    write_bundle(target, bundle.manifest, files, overwrite=True)


def _graph(source: Path, target: Path) -> None:
    facts = (f"e{n % 17}\tr{n % 2}\te{n * 7 % 23}\n" for n in range(200))
    source.write_text("".join(facts))
    split_graph(read_graph(source), target, overwrite=True)


WRITERS: dict[str, Callable[[Path, Path], None]] = {
    "bundle": _bundle, "copied bundle": _copied_bundle, "graph": _graph,
}  # fmt: skip


def state(target: Path) -> Found:
    """What lies at a place."""
    if not target.exists():
        return None
    files = sorted(target.iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def watch(target: Path) -> list[Found]:
    """From now on, what lay there just before each thing that was done to files beside it."""
    seen: list[Found] = []
    looking = False

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal looking
        if looking or name not in _DOES_TO_FILES or not isinstance(arguments[0], str | os.PathLike):
            return
        if os.fspath(arguments[0]).startswith(str(target.parent)):
            looking = True  # to look is to open files, too
            seen.append(state(target))
            looking = False

    sys.addaudithook(hook)
    return seen


def main(kind: str, source: Path, target: Path) -> None:
    seen = watch(target)
    WRITERS[kind](source, target)
    for one in [*seen, state(target)]:
        print(json.dumps(one))


if __name__ == "__main__":
    named, origin, place = sys.argv[1:]
    main(named, Path(origin), Path(place))

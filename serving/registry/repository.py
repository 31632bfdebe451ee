"""Bundles on disk: one of them, or a model repository ``NAME/VERSION/``.

Versions are ordered as people order them: runs of digits by their value ("10" after "9").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mulde.bundle.files import MANIFEST, read_small
from mulde.bundle.manifest import NAME, Manifest
from mulde.errors import BundleError, UnknownModel


@dataclass(frozen=True)
class Place:
    """Where a version of a model lies.

    Attributes:
        digest: of the bundle that was there when it was chosen, see ``manifest_digest``; all who
            load it, now or later, load this one or none. Empty where it was not chosen yet.
    """

    name: str
    version: str
    path: Path
    digest: str = ""

    @property
    def order(self) -> tuple[tuple[int, int, str], ...]:
        """Sorts the versions of a name, the newest last."""
        parts = re.findall(r"\d+|\D+", self.version)
        return tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts)


class Repository:
    """The folder that ``mulde serve`` was given.

    A folder with a manifest is one bundle, and its manifest says name and version. Otherwise each
    folder in it is a name: with a manifest, it is that name's only version; without, the folders
    with a manifest in it are the versions. Whatever else lies there is left alone.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def scan(self) -> list[Place]:
        """All versions that are there now, by name and version.

        Raises:
            BundleError: if the folder cannot be read, or holds no bundle.
        """
        try:
            places = self._scan()
        except OSError as error:
            raise BundleError(self.root, f"cannot be read: {error.strerror}") from error
        if not places:
            expected = "expected a bundle, or folders NAME/VERSION with bundles"
            raise BundleError(self.root, f"{expected}, found none")
        return sorted(places, key=lambda place: (place.name, place.order))

    def _scan(self) -> list[Place]:
        if not self.root.is_dir():
            raise BundleError(self.root, "expected a folder, found none")
        if (self.root / MANIFEST).exists():
            manifest = _manifest(self.root)
            return [Place(manifest.name, manifest.version, self.root)]
        places = []
        for folder in _folders(self.root):
            if (folder / MANIFEST).exists():
                places.append(Place(folder.name, _manifest(folder).version, folder))
                continue
            versions = [path for path in _folders(folder) if (path / MANIFEST).exists()]
            places += [Place(folder.name, path.name, path) for path in versions]
        return places

    def find(self, name: str, version: str = "") -> Place:
        """One version of a name; the newest by default.

        Raises:
            UnknownModel: if it is not there.
            BundleError: as ``scan``.
        """
        places = [place for place in self.scan() if place.name == name]
        chosen = [place for place in places if version in ("", place.version)]
        if not chosen:
            wanted = f"{name}/{version}" if version else name
            raise UnknownModel(wanted, [f"{place.name}/{place.version}" for place in places])
        return chosen[-1]


def _folders(folder: Path) -> list[Path]:
    """Folders in a folder that may be names or versions; links are not followed."""
    return [
        path
        for path in folder.iterdir()
        if NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    return Manifest.from_json(path, read_small(path))

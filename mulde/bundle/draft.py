"""Write bundles: fill a temporary folder, seal it, publish it.

A bundle exists whole or not at all: the temporary folder beside its place is synced and renamed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mulde.bundle.files import DIGEST, ENTITIES, MANIFEST, check_names, stamp_of
from mulde.bundle.manifest import Manifest
from mulde.bundle.model_id import FIRST_FORMAT, write_ids
from mulde.errors import BundleError
from mulde.storage.atomic import new_folder, publish


@dataclass(frozen=True)
class Draft:
    """A bundle that is being written: a temporary folder beside its target.

    Attributes:
        path: fill this folder, then ``seal``; sealed, it opens like any bundle.
        target: where ``publish`` will put it.
        overwrite: whether a bundle that is there may be replaced.
    """

    path: Path
    target: Path
    overwrite: bool

    def seal(self, manifest: Manifest, *, rebind: bool = False) -> Manifest:
        """Bind the files to each other, stamp them and write the manifest; may be repeated.

        Args:
            manifest: all but ``files``.
            rebind: whether files of another table were made for this one (``mulde shrink``).

        Returns:
            The manifest as written, with ``files``.

        Raises:
            BundleError: if a required file is missing, one is not part of the format, or one
                belongs to another model.
        """
        names = {path.name for path in self.path.iterdir()} - {MANIFEST, DIGEST}
        check_names(self.path, names)
        stamps = {ENTITIES: stamp_of(self.path / ENTITIES)}
        if manifest.format_version >= FIRST_FORMAT:
            write_ids(self.path, names, stamps[ENTITIES].sha256, rebind=rebind)
        stamps |= {name: stamp_of(self.path / name) for name in sorted(names - {ENTITIES})}
        sealed = replace(manifest, files=dict(sorted(stamps.items())))
        text = sealed.to_json().encode()
        (self.path / MANIFEST).write_bytes(text)
        (self.path / DIGEST).write_text(hashlib.sha256(text).hexdigest() + "\n")
        return sealed

    def publish(self) -> None:
        """Sync it and give it its name.

        Raises:
            BundleError: if the target exists and may not be overwritten.
        """
        try:
            publish(self.path, self.target, overwrite=self.overwrite)
        except OSError as error:
            problem = "exists" if isinstance(error, FileExistsError) else str(error)
            raise BundleError(self.target, f"cannot be written: {problem}") from error


@contextmanager
def draft_bundle(directory: Path, *, overwrite: bool = False) -> Iterator[Draft]:
    """A draft that disappears on leaving, unless it was published.

    Raises:
        BundleError: at once, if the target exists and may not be overwritten; later, if the disk is
            full or the folder may not be written.
    """
    directory = Path(directory)
    if directory.exists() and not overwrite:
        raise BundleError(directory, "exists; say that it may be overwritten, or take another name")
    try:
        with new_folder(directory) as folder:
            yield Draft(folder, directory, overwrite)
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise BundleError(directory, problem) from error


def write_bundle(
    directory: Path,
    manifest: Manifest,
    files: Mapping[str, bytes | Path],
    *,
    overwrite: bool = False,
) -> Manifest:
    """Write a whole bundle from contents or from files to copy.

    Returns:
        The manifest as written, with ``files``.

    Raises:
        BundleError: as ``Draft.seal`` and ``Draft.publish``; nothing is left behind then.
    """
    with draft_bundle(directory, overwrite=overwrite) as draft:
        check_names(draft.target, set(files))
        for name, content in files.items():
            if isinstance(content, Path):
                shutil.copyfile(content, draft.path / name)
            else:
                (draft.path / name).write_bytes(content)
        sealed = draft.seal(manifest)
        draft.publish()
    return sealed

"""Open bundles: immutable, checksummed folders that training hands to serving.

A bundle is mapped after the manifest's digest, the list of files, their sizes, digests and model
ids agree. ``mulde.bundle.draft`` writes bundles; docs/explanation/bundle-format.md describes the
files.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mulde.bundle.entities.descriptions import Descriptions
from mulde.bundle.entities.entity_map import EntityMap
from mulde.bundle.entities.entity_types import EntityTypes
from mulde.bundle.entities.label_search import SearchIndex
from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.facts.path_rules import PathRules
from mulde.bundle.files import (
    CALIBRATION,
    DESCRIPTIONS,
    ENTITIES,
    KNOWN,
    MANIFEST,
    MAP,
    MEASURES,
    RULES,
    SEARCH,
    TYPES,
    VOCABULARY,
    Identity,
    check_listing,
    check_stamp,
    identity_of,
    manifest_digest,
    read_small,
)
from mulde.bundle.manifest import Manifest
from mulde.bundle.model_id import FIRST_FORMAT, check_ids
from mulde.bundle.table.bounds import TableBounds
from mulde.errors import BundleError
from mulde.evaluation.calibration import Calibration


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; its arrays are mapped and shared between processes.

    Attributes:
        path: the folder.
        manifest: its description.
        vocabulary: ids, labels and rows.
        known: known facts, or None if the bundle has none.
        rules: paths that stand for relations, or None.
        types: entities per type, or None.
        search: completions and misspellings of entity labels, or None.
        calibration: score -> probability, or None.
        measures: of the table and its lists, or None. Where ``verified`` is False another process
            has checked them.
        map: where each entity lies on a map of the space, or None.
        descriptions: a text about each entity, or None.
        verified: whether every file was read and checked.
        identity: of the folder at ``path``, see ``files.identity_of``.
    """

    path: Path
    manifest: Manifest
    vocabulary: Vocabulary
    known: KnownFacts | None
    types: EntityTypes | None
    search: SearchIndex | None
    calibration: Calibration | None
    identity: Identity
    measures: TableBounds | None = None
    map: EntityMap | None = None
    descriptions: Descriptions | None = None
    rules: PathRules | None = None
    verified: bool = True

    def check_same(self) -> None:
        """Refuse a bundle that was replaced while its files were opened.

        Call this after opening files by their path: a bundle can be replaced at any time, and
        files of two bundles would answer as if they were one model.

        Raises:
            BundleError: if another folder lies at ``path``, or a file came to it.
        """
        if identity_of(self.path) != self.identity:
            raise BundleError(self.path, "it was replaced while it was read; open it again")

    def file(self, name: str) -> Path:
        """Path of one of its files, such as ``encoder.onnx``.

        Raises:
            BundleError: if the bundle has no such file.
        """
        if name not in self.manifest.files:
            raise BundleError(self.path / name, "the bundle has no such file")
        return self.path / name


def open_bundle(
    directory: Path | str | os.PathLike[str], *, verify: bool = True, digest: str = ""
) -> Bundle:
    """Verify a bundle, then map it.

    Args:
        directory: the bundle's folder (it may itself be reached through a link).
        verify: False skips reading the content of files other than the manifest; only for a folder
            that another process of the same server has just verified.
        digest: SHA-256 that the manifest must have, see ``manifest_digest``; empty for any.

    Raises:
        BundleError: naming the file, and what was expected and found.
    """
    path = Path(directory)
    identity = identity_of(path)
    manifest = read_manifest(path, digest)
    check_listing(path, manifest)
    if verify:
        for name, stamp in manifest.files.items():
            check_stamp(path / name, stamp)
    if manifest.format_version >= FIRST_FORMAT:
        check_ids(path, manifest.files, manifest.files[ENTITIES].sha256)
    bundle = _map(path, manifest, identity, verify)
    _check_sizes(bundle)
    bundle.check_same()
    return bundle


def read_manifest(directory: Path, digest: str = "") -> Manifest:
    """Read and verify the manifest alone; ``digest`` as for ``open_bundle``.

    Raises:
        BundleError: if the folder or the manifest is missing, damaged, of a newer format or not
            the one that was asked for.
    """
    if not directory.is_dir():
        raise BundleError(directory, "expected the folder of a bundle")
    stated = manifest_digest(directory)
    text = read_small(directory / MANIFEST)
    found = hashlib.sha256(text).hexdigest()
    if found != stated:
        raise BundleError(directory / MANIFEST, f"expected SHA-256 {stated[:64]}, found {found}")
    if digest not in ("", found):
        expected = f"expected the bundle whose manifest has SHA-256 {digest}"
        raise BundleError(directory, f"{expected}, found another one, {found}, in its place")
    return Manifest.from_json(directory / MANIFEST, text)


def _map(path: Path, manifest: Manifest, identity: Identity, check: bool) -> Bundle:
    has = manifest.files
    names = Vocabulary.read(path / VOCABULARY, check=check)
    labels = names.entities.labels
    return Bundle(
        path=path,
        manifest=manifest,
        vocabulary=names,
        known=KnownFacts.read(path / KNOWN, check=check) if KNOWN in has else None,
        types=EntityTypes.read(path / TYPES, check=check) if TYPES in has else None,
        search=SearchIndex.read(path / SEARCH, labels, check=check) if SEARCH in has else None,
        calibration=Calibration.read(path / CALIBRATION) if CALIBRATION in has else None,
        identity=identity,
        measures=_measures(path / MEASURES, manifest) if MEASURES in has else None,
        map=EntityMap.read(path / MAP, check=check) if MAP in has else None,
        descriptions=Descriptions.read(path / DESCRIPTIONS, check=check)
        if DESCRIPTIONS in has
        else None,
        rules=PathRules.read(path / RULES) if RULES in has else None,
        verified=check,
    )


def _measures(path: Path, manifest: Manifest) -> TableBounds:
    return TableBounds.read(path, manifest.width, manifest.index.cells)


def _check_sizes(bundle: Bundle) -> None:
    """Refuse parts that were not made for each other."""
    path, manifest = bundle.path, bundle.manifest
    want = manifest.entities, manifest.relations
    vocabulary = bundle.vocabulary
    parts: list[tuple[str, tuple[int, int]]] = [
        (VOCABULARY, (len(vocabulary.entities), len(vocabulary.relations)))
    ]
    if bundle.known is not None:
        parts.append((KNOWN, (bundle.known.num_entities, bundle.known.num_relations)))
    if bundle.rules is not None:
        parts.append((RULES, (manifest.entities, bundle.rules.num_relations)))
    if bundle.types is not None:
        parts.append((TYPES, (bundle.types.num_entities, manifest.relations)))
    if bundle.map is not None:
        parts.append((MAP, (bundle.map.num_entities, manifest.relations)))
    if bundle.descriptions is not None:
        parts.append((DESCRIPTIONS, (bundle.descriptions.num_entities, manifest.relations)))
    for name, found in parts:
        if found != want:
            expected = f"expected {want[0]} entities and {want[1]} relations"
            raise BundleError(path / name, f"{expected}, found {found[0]} and {found[1]}")

"""A smaller bundle from a bundle: a coarser table, and without what a device can do without.

The checkpoint is not needed. The points are those of the table that is there, so what was rounded
once is rounded again; from half precision that changes nothing that can be measured.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from mulde.bundle import files
from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.draft import Draft, draft_bundle
from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.bundle.job import job_of, own_result
from mulde.bundle.manifest import FORMAT_VERSION, Index, Manifest
from mulde.bundle.table.entity_table import Precision
from mulde.bundle.table.quantised_table import BITS, pack_quantised
from mulde.errors import BundleError, ConfigError
from mulde.graph.graph import Graph
from serving.engine.engine import Engine
from serving.engine.entity_table import EntityTable
from training.export.served import measure_quality
from training.export.table.entity_table import write_quantised

DROPPABLE = {
    "labels": files.SEARCH,
    "search": files.SEARCH,
    "types": files.TYPES,
    "known": files.KNOWN,
    "map": files.MAP,
    "descriptions": files.DESCRIPTIONS,
}
"""What can be left out, and the file that goes with it; no labels, no search."""

_COPIED = (files.ENCODER, files.CALIBRATION, files.RECIPE)

Report = Callable[[str], None]


def shrink(
    source: Path,
    out: Path,
    precision: Precision,
    graph: Graph,
    *,
    without: Collection[str] = (),
    report: Report = lambda step: None,
) -> Manifest:
    """Write a smaller bundle, and measure again what it is worth.

    A bundle that the same job has published is its result.

    Args:
        source: the bundle's folder.
        out: the new one's.
        precision: of its table: "int8" or "int4".
        graph: that it was trained on.
        without: some of ``DROPPABLE``.
        report: is told what is being done.

    Returns:
        The manifest as published, with the quality on valid and test.

    Raises:
        ConfigError: for another precision, or a part that cannot be left out.
        BundleError: if ``source`` cannot be opened, is of another graph, or ``out`` exists.
    """
    if precision not in BITS:
        raise ConfigError("--precision", " or ".join(BITS), precision)
    for part in without:
        if part not in DROPPABLE:
            raise ConfigError("--without", ", ".join(DROPPABLE), part)
    opened = open_bundle(source)
    if opened.manifest.dataset.sha256 != graph.digest:
        raise BundleError(source, f"expected a bundle of {graph.name}, found one of another graph")
    job = job_of("shrink", source=source, graph=graph.digest, bits=precision, without=[*without])
    made = own_result(out, job)
    if made is not None:
        return made
    with draft_bundle(out) as draft:
        report(f"writing the table in {precision}")
        manifest = write_shrunk(draft, opened, precision, without, name=out.name, job=job)
        with Engine.open(draft.path) as engine:
            manifest = measure_quality(manifest, engine, graph, ("valid", "test"), report)
        sealed = draft.seal(manifest)
        draft.publish()
    return sealed


def write_shrunk(
    draft: Draft,
    opened: Bundle,
    precision: Precision,
    without: Collection[str] = (),
    *,
    name: str,
    job: str = "",
) -> Manifest:
    """Write the files of the smaller bundle, without figures; see ``shrink``."""
    dropped = {DROPPABLE[part] for part in without}
    _write_table(draft.path / files.ENTITIES, opened, precision)
    _vocabulary(opened, "labels" in without).write(draft.path / files.VOCABULARY)
    for copied in _COPIED:
        if copied in opened.manifest.files:
            shutil.copyfile(opened.file(copied), draft.path / copied)
    parts = {
        files.KNOWN: opened.known,
        files.RULES: None if files.KNOWN in dropped else opened.rules,
        files.TYPES: opened.types,
        files.SEARCH: opened.search,
        files.MAP: opened.map,
        files.DESCRIPTIONS: opened.descriptions,
    }
    for part, kept in parts.items():
        if kept is not None and part not in dropped:
            kept.write(draft.path / part)
    manifest = replace(
        opened.manifest,
        name=name,
        precision=precision,
        index=Index(),
        checks={},
        quality={},
        scorer_quality={},
        format_version=FORMAT_VERSION,
        job=job,
    )
    return draft.seal(manifest, rebind=True)


def _write_table(path: Path, source: Bundle, precision: Precision) -> None:
    """The points of the source's table, rounded again."""
    layout, entities = source.manifest.layout, source.manifest.entities
    table = EntityTable(source.file(files.ENTITIES), entities, layout.width)
    points = layout.unpack(table.decode(0, entities))
    parts = points.spatial, points.tail_bias, points.head_bias
    write_quantised(path, *pack_quantised(layout, *parts, BITS[precision], points.traits))


def _vocabulary(source: Bundle, bare: bool) -> Vocabulary:
    """The names; without labels if ``bare``."""
    names = source.vocabulary
    if not bare:
        return names
    return Vocabulary(names.entities.without_labels(), names.relations.without_labels())

"""Add path rules, and on request known facts, to a bundle without its checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mulde.bundle import files
from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import draft_bundle
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.job import job_of, own_result
from mulde.bundle.manifest import FORMAT_VERSION, Manifest
from mulde.errors import BundleError
from mulde.graph.graph import Graph
from training.rules.path_rules import mine_path_rules

Report = Callable[[str], None]


def add_rules(
    source: Path,
    out: Path,
    graph: Graph,
    *,
    facts: bool = False,
    report: Report = lambda step: None,
) -> Manifest:
    """Write a bundle with path rules; every other file stays as it is, byte for byte.

    A bundle that the same job has published is its result.

    Args:
        source: the bundle's folder.
        out: the new one's.
        graph: that it was trained on.
        facts: also carry the known facts of train, valid and test.
        report: is told what is being done.

    Returns:
        The manifest as published.

    Raises:
        BundleError: if ``source`` cannot be opened, is of another graph or an older format, has no
            known facts and shall not get them, or ``out`` exists.
    """
    opened = open_bundle(source)
    manifest = opened.manifest
    if manifest.dataset.sha256 != graph.digest:
        raise BundleError(source, f"expected a bundle of {graph.name}, found one of another graph")
    if manifest.format_version < FORMAT_VERSION:
        problem = f"expected format {FORMAT_VERSION}, found {manifest.format_version}"
        raise BundleError(source, f"{problem}; mulde calibrate writes it in the newest format")
    if opened.known is None and not facts:
        raise BundleError(source, "it has no known facts to explain with; --facts adds them")
    job = job_of("rules", source=source, graph=graph.digest, facts=facts)
    made = own_result(out, job)
    if made is not None:
        return made
    with draft_bundle(out) as draft:
        for name in set(manifest.files) - {files.RULES}:
            shutil.copyfile(opened.file(name), draft.path / name)
        if opened.known is None:
            known = KnownFacts.build(graph.all_triples, graph.num_entities, graph.num_relations)
            known.write(draft.path / files.KNOWN)
        mine_path_rules(graph, report=report).write(draft.path / files.RULES)
        sealed = draft.seal(replace(manifest, files={}, job=job))
        open_bundle(draft.path)
        draft.publish()
    return sealed

"""Calibrate a bundle again, without its checkpoint.

The scorer and the names stay as they are; the probabilities, on request the relation priors and the
self-loop exclusion, the figures of quality and the card's sections about them are made anew, by the
code that makes those of an export. Scores come from the bundle's engine in both cases, so the
result is that of an export.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mulde.bundle import files
from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.draft import draft_bundle
from mulde.bundle.job import job_of, own_result
from mulde.bundle.manifest import FORMAT_VERSION, Manifest, utc_now
from mulde.errors import BundleError
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph
from serving.engine.engine import Engine
from training.export.calibration.calibrate import calibrate, measure_calibration
from training.export.calibration.choose_again import Choice, choose_again
from training.export.card.card import priors as card_priors
from training.export.card.card import probabilities, quality, self_loops
from training.export.export_source import slots_of
from training.export.served import Served, measure_quality

Report = Callable[[str], None]

_COPIED = (files.ENCODER, files.ENTITIES, files.CANDIDATES, files.MEASURES, files.RECIPE)


def recalibrate(
    source: Path,
    out: Path,
    graph: Graph,
    *,
    priors: bool = False,
    report: Report = lambda step: None,
) -> Manifest:
    """Write a bundle with probabilities and figures of quality that were measured again.

    A bundle that the same job has published is its result.

    Args:
        source: the bundle's folder.
        out: the new one's.
        graph: that it was trained on.
        priors: choose relation priors and self-loop exclusion again on valid, as an export does;
            otherwise table and encoder stay as they are, byte for byte.
        report: called with each step's name.

    Returns:
        The manifest as published.

    Raises:
        BundleError: if ``source`` cannot be opened, is of another graph, or ``out`` exists; with
            ``priors``, also for a table of bytes or an index of inverted lists.
    """
    opened = open_bundle(source)
    if opened.manifest.dataset.sha256 != graph.digest:
        raise BundleError(source, f"expected a bundle of {graph.name}, found one of another graph")
    chosen = {"priors": True} if priors else {}
    job = job_of("calibrate", source=source, graph=graph.digest, **chosen)
    made = own_result(out, job)
    if made is not None:
        return made
    with draft_bundle(out) as draft:
        _copy(opened, draft.path)
        manifest = replace(
            opened.manifest, created=utc_now(), format_version=FORMAT_VERSION, files={}, job=job
        )
        sealed, choice = draft.seal(manifest, rebind=True), None
        if priors:
            choice = choose_again(draft.path, sealed, graph, report)
            manifest = replace(choice.manifest, files={})
            draft.seal(manifest, rebind=True)
        with Engine.open(draft.path) as engine:
            manifest = measure_quality(manifest, engine, graph, ("valid", "test"), report)
            report("calibrating probabilities")
            served = Served(engine)
            calibration = calibrate(served, graph, RankingTask.of(graph, "valid"))
            measured = measure_calibration(calibration, served, graph, "test")
        kept = {name: one for name, one in manifest.checks.items() if "calibration" not in name}
        manifest = replace(manifest, checks={**kept, **measured})
        (draft.path / files.CALIBRATION).write_text(calibration.to_json(), encoding="utf-8")
        if files.CARD in opened.manifest.files:
            text = opened.file(files.CARD).read_text(encoding="utf-8")
            card = _card(text, manifest, graph, choice)
            (draft.path / files.CARD).write_text(card, encoding="utf-8")
        sealed = draft.seal(manifest)
        open_bundle(draft.path)
        draft.publish()
    return sealed


def _copy(opened: Bundle, folder: Path) -> None:
    """All files but the calibration and the card; what holds a model id is written anew."""
    for name in _COPIED:
        if name in opened.manifest.files:
            shutil.copyfile(opened.file(name), folder / name)
    opened.vocabulary.write(folder / files.VOCABULARY)
    parts = {
        files.KNOWN: opened.known,
        files.RULES: opened.rules,
        files.TYPES: opened.types,
        files.SEARCH: opened.search,
        files.MAP: opened.map,
        files.DESCRIPTIONS: opened.descriptions,
    }
    for name, kept in parts.items():
        if kept is not None:
            kept.write(folder / name)


def _card(text: str, manifest: Manifest, graph: Graph, choice: Choice | None) -> str:
    """The card with the sections on quality and probabilities made anew."""
    parts = text.split("\n## ")
    for place, part in enumerate(parts):
        name, _, body = part.partition("\n")
        if name == "Quality":
            more = [_after_table(body)] if choice is None else _rules(manifest, graph, choice)
            paragraphs = [name, quality(manifest), *filter(None, more)]
            parts[place] = "\n\n".join(paragraphs) + "\n"
        elif name == "Probabilities":
            parts[place] = f"{name}\n\n{probabilities(manifest)}\n"
    return "\n## ".join(parts)


def _after_table(body: str) -> str:
    """What a section says after its table: the two rules, as they were chosen before."""
    return body.rpartition("|\n")[2].strip()


def _rules(manifest: Manifest, graph: Graph, choice: Choice) -> list[str]:
    """What was chosen again, and what it does for valid MRR."""
    mrr, checks = manifest.quality["valid"]["total"]["mrr"], manifest.checks
    said = ["Self-loop exclusion and relation priors were chosen again on valid (mulde calibrate)."]
    if "mrr_with_self_loops" in checks:
        kept = (graph.relation_ids[row] for row in manifest.loops or ())
        said.append(self_loops(manifest, kept, mrr))
    else:
        said.append("All relations keep self-loops among their answers.")
    named = [slots_of(graph, group) for group in choice.slots]
    said.append(card_priors(manifest, named) if named else "No relation prior helps on valid.")
    return said

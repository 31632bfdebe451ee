"""From a checkpoint to a bundle: round, write, reopen with the code that serves it, compare.

Nothing is published unless the reopened bundle answers as the trained model does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mulde.bundle import files
from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import Draft, draft_bundle
from mulde.bundle.job import job_of, own_result
from mulde.bundle.manifest import NAME, Manifest
from mulde.bundle.table.entity_table import PRECISIONS, Layout, Precision
from mulde.bundle.table.quantised_table import BITS
from mulde.errors import ConfigError
from mulde.evaluation.calibration import Calibration
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph
from serving.engine.engine import Engine
from serving.index_benchmark import Bench
from training.evaluate import scores_of, served_priors
from training.export.bundle_files import first_manifest, write_files, write_points
from training.export.calibration.calibrate import calibrate, measure_calibration
from training.export.card.card import Provenance, card
from training.export.checks import measure, refuse_differences, sample
from training.export.encoder.onnx_encoder import EncoderGraph, choose_slopes
from training.export.export_source import ExportSource, provenance_of, served_text
from training.export.served import Served, measure_quality
from training.export.table.index_selection import Wish, choose_index, choose_precision

Report = Callable[[str], None]


def export(
    checkpoint: Path,
    data: Path,
    out: Path,
    *,
    precision: str | None = None,
    wish: Wish | None = None,
    known: bool = True,
    overwrite: bool = False,
    name: str | None = None,
    version: str = "1",
    recipe: Path | None = None,
    licence: str = "",
    job: str = "",
    report: Report = lambda step: None,
) -> Manifest:
    """Write a bundle of a trained model; one that the same job has published is its result.

    Args:
        checkpoint: a ``best.pt``.
        data: the graph that it was trained on; ``types.tsv`` in it gives more types.
        out: the bundle's folder.
        precision: of the entity table: "fp16", "fp32", "int8" or "int4"; by default "fp16", or
            the finest that the wish allows.
        wish: what the bundle may cost; without one, the index is of kind "int8" and nothing is
            tried.
        known: whether the bundle carries the facts of train, valid and test, and path rules, so
            that it can explain answers.
        overwrite: whether a bundle that is there may be replaced.
        name: of the model; by default the name of ``out``.
        version: of the model.
        recipe: the recipe file; by default the one in the run's folder, ``RUN/recipe.toml``.
        licence: a sentence for the card about the licence of the data.
        job: what ``mulde.bundle.job`` knows the result by; by default a digest of all arguments and
            of the files that they name.
        report: is told what is being done.

    Returns:
        The manifest as published.

    Raises:
        ConfigError: for an unknown precision, an impossible name or a missing recipe.
        CheckpointError: if the checkpoint is damaged or of another graph.
        DatasetError: if the graph is damaged.
        BundleError: if ``out`` exists, the reopened bundle differs from the trained model, or
            nothing that was tried is as wished.
    """
    given = None if precision is None else _precision(precision)
    called = _name("name", name or out.resolve().name), _name("version", version)
    chosen = {"precision": precision, "wish": wish, "known": known, "licence": licence}
    inputs = {"checkpoint": checkpoint, "data": data, "recipe": recipe}
    job = job or job_of("export", called=called, **chosen, **inputs)
    made = None if overwrite else own_result(out, job)
    if made is not None:
        return made
    report("reading graph and checkpoint")
    source = ExportSource.read(checkpoint, data, recipe)
    with draft_bundle(out, overwrite=overwrite) as draft:
        valid = RankingTask.of(source.graph, "valid")
        text = served_text(source, valid, report)
        scores = text.added(scores_of(source.scorer))
        priors = served_priors(scores, source.graph, source.recipe, valid, report)
        count = len(priors.slots) + text.count
        layout = Layout(source.scorer.dimension, count, text.count)
        report("writing encoder and names")
        slopes = choose_slopes(source.scorer, valid)
        weights = torch.from_numpy(priors.weights)
        encoder = EncoderGraph(source.scorer, layout, slopes, weights, text)
        write_files(draft.path, source, encoder, known, report)
        checked = given or _fitting(wish, out, draft.path, source.graph.num_entities, layout)
        report(f"writing the table in {checked}")
        more = np.concatenate([priors.filled, text.columns], axis=1)
        table = write_points(draft.path, source.scorer, layout, checked, out, more)
        manifest = replace(first_manifest(source, *called, checked, layout), job=job)
        draft.seal(manifest)
        with Engine.open(draft.path) as engine:
            manifest = _index(manifest, wish, out, draft.path, engine, valid, report)
            checks = measure(source.scorer, encoder, table, engine, valid, priors, text, report)
            manifest = measure_quality(manifest, engine, source.graph, ("valid",), report)
            checks["mrr_served"] = manifest.quality["valid"]["total"]["mrr"]
            refuse_differences(out, checks, checked, len(valid.target))
            manifest = replace(manifest, checks=checks)
            manifest, calibration = _test(manifest, engine, source.graph, valid, report)
        provenance = provenance_of(source, licence, priors)
        manifest = _describe(draft, manifest, calibration, provenance)
        open_bundle(draft.path)
        draft.publish()
    return manifest


def _test(
    manifest: Manifest, engine: Engine, graph: Graph, valid: RankingTask, report: Report
) -> tuple[Manifest, Calibration]:
    """Fit probabilities on valid; measure quality and probabilities on test."""
    manifest = measure_quality(manifest, engine, graph, ("test",), report)
    report("calibrating probabilities")
    served = Served(engine)
    calibration = calibrate(served, graph, valid)
    checks = {**manifest.checks, **measure_calibration(calibration, served, graph, "test")}
    return replace(manifest, checks=checks), calibration


def _describe(
    draft: Draft, manifest: Manifest, calibration: Calibration, provenance: Provenance
) -> Manifest:
    """Write what was measured, and the card, which quotes the sealed manifest."""
    text = calibration.to_json()
    (draft.path / files.CALIBRATION).write_text(text, encoding="utf-8")
    text = card(draft.seal(manifest), provenance)
    (draft.path / files.CARD).write_text(text, encoding="utf-8")
    return draft.seal(manifest)


def _fitting(
    wish: Wish | None, out: Path, folder: Path, entities: int, layout: Layout
) -> Precision:
    """The precision that a wish allows beside the files that are there."""
    if wish is None:
        return "fp16"
    others = sum(path.stat().st_size for path in folder.iterdir())
    return choose_precision(wish, out, others, entities, layout.width)


def _index(
    manifest: Manifest,
    wish: Wish | None,
    out: Path,
    folder: Path,
    engine: Engine,
    valid: RankingTask,
    report: Report,
) -> Manifest:
    """The manifest with the index that a wish leads to."""
    if wish is None:
        return manifest
    rows = sample(valid)
    bench = Bench(engine, engine.encode(valid.entity[rows], valid.relation[rows]))
    return replace(manifest, index=choose_index(wish, out, folder, engine, bench, report))


def _precision(text: str) -> Precision:
    known: tuple[Precision, ...] = (*PRECISIONS, *BITS)
    for one in known:
        if text == one:
            return one
    raise ConfigError("precision", ", ".join(known), text)


def _name(field: str, text: str) -> str:
    if not NAME.fullmatch(text):
        raise ConfigError(field, "1 to 64 letters, digits, '.', '_' or '-'", text)
    return text

"""From a checkpoint to a bundle: round, write, reopen with the code that serves it, compare.

Nothing is published unless the reopened bundle answers as the trained model does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

import mulde
from mulde.bundle import files
from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import Draft, draft_bundle
from mulde.bundle.entity_table import PRECISIONS, Layout, Precision
from mulde.bundle.entity_types import EntityTypes, read_types
from mulde.bundle.known_facts import KnownFacts
from mulde.bundle.label_search import SearchIndex
from mulde.bundle.manifest import NAME, Dataset, Manifest, RecipeStamp, Score, utc_now
from mulde.bundle.quantised_table import BITS, pack_quantised
from mulde.errors import BundleError, ConfigError
from mulde.evaluation.calibration import Calibration
from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.self_loops import loopless, without_loops
from mulde.graph.graph import SPLITS, Graph, read_folder
from serving.engine.engine import Engine
from serving.index_benchmark import Bench
from training.evaluate import scores_of, self_loop_relations, served_priors
from training.export.calibrate import calibrate, measure_calibration
from training.export.card import Provenance, card
from training.export.checks import measure, refuse_differences, sample
from training.export.entity_table import write_quantised, write_table
from training.export.index_selection import Wish, choose_index, choose_precision
from training.export.onnx_encoder import EncoderGraph, choose_slopes, write_onnx
from training.export.paper_differences import departures
from training.export.served import Served, measure_quality
from training.export.train_priors import RelationPriors
from training.hardware import describe_machine
from training.recipe import Recipe
from training.recipe_file import read_recipe
from training.scorers import RESCAL, Scorer
from training.text.columns import TextColumns, choose_weights
from training.text.features import read_texts, text_features
from training.text.fit import fit_text
from training.train import load_scorer

LIBRARIES = (mulde, torch, onnx, onnxruntime, faiss, np)
TYPES_FILE = "types.tsv"

Report = Callable[[str], None]


@dataclass(frozen=True)
class ExportSource:
    """What a bundle is made from: a graph and its folder, a model, its checkpoint and recipe."""

    graph: Graph
    folder: Path
    scorer: Scorer
    state: Mapping[str, Any]
    recipe: Recipe
    recipe_path: Path

    @classmethod
    def read(cls, checkpoint: Path, data: Path, recipe: Path | None) -> ExportSource:
        """Read them; without ``recipe``, the one in the run's folder is taken."""
        path = recipe or checkpoint.resolve().parent.parent / files.RECIPE
        if not path.is_file():
            expected = "a recipe file, such as the run's recipe.toml"
            raise ConfigError("recipe", expected, str(path))
        graph = read_folder(data)
        scorer, state = load_scorer(checkpoint, graph)
        if isinstance(scorer, RESCAL):
            scorer.round_matrices()
        return cls(graph, data, scorer, state, read_recipe(path), path)


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
    report: Report = lambda step: None,
) -> Manifest:
    """Write a bundle of a trained model.

    Args:
        checkpoint: a ``best.pt``.
        data: the graph that it was trained on; ``types.tsv`` in it gives more types.
        out: the bundle's folder.
        precision: of the entity table: "fp16", "fp32", "int8" or "int4"; by default "fp16", or
            the finest that the wish allows.
        wish: what the bundle may cost; without one, the index is of kind "int8" and nothing is
            tried.
        known: whether the bundle carries the facts of train, valid and test.
        overwrite: whether a bundle that is there may be replaced.
        name: of the model; by default the name of ``out``.
        version: of the model.
        recipe: the recipe file; by default the one in the run's folder, ``RUN/recipe.toml``.
        licence: a sentence for the card about the licence of the data.
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
        _write_files(draft.path, source, encoder, known)
        checked = given or _fitting(wish, out, draft.path, source.graph.num_entities, layout)
        report(f"writing the table in {checked}")
        more = np.concatenate([priors.filled, text.columns], axis=1)
        table = _write_table(draft.path, source.scorer, layout, checked, out, more)
        manifest = _first_manifest(source, *called, checked, layout)
        draft.seal(manifest)
        with Engine.open(draft.path) as engine:
            manifest = _index(manifest, wish, out, draft.path, engine, valid, report)
            checks = measure(source.scorer, encoder, table, engine, valid, priors, text, report)
            manifest = measure_quality(manifest, engine, source.graph, ("valid",), report)
            checks["mrr_served"] = manifest.quality["valid"]["total"]["mrr"]
            refuse_differences(out, checks, checked, len(valid.target))
            manifest = replace(manifest, checks=checks)
            manifest, calibration = _test(manifest, engine, source.graph, valid, report)
        provenance = _provenance(source, licence, priors)
        manifest = _describe(draft, manifest, calibration, provenance)
        open_bundle(draft.path)
        draft.publish()
    return manifest


def served_text(source: ExportSource, valid: RankingTask, report: Report) -> TextColumns:
    """Fit the recipe's text columns and choose their weights on valid, self-loops left out."""
    graph, settings = source.graph, source.recipe.text
    if settings is None:
        return TextColumns.none(graph.num_entities, graph.num_relations)
    report("reading labels and descriptions")
    features = text_features(read_texts(source.folder, graph.entity_ids), source.recipe.seed)
    fitted = fit_text(features, graph, settings, source.recipe.seed, report)
    mask = loopless(self_loop_relations(graph, source.recipe), graph.num_relations)
    scores = without_loops(scores_of(source.scorer), mask)
    return fitted.weighted(choose_weights(scores, fitted, valid, report))


def _first_manifest(
    source: ExportSource, name: str, version: str, precision: Precision, layout: Layout
) -> Manifest:
    """All that is known before anything is measured."""
    graph, scorer = source.graph, source.scorer
    kind: Literal["linear", "distance"] = "distance" if scorer.kind == "distance" else "linear"
    return Manifest(
        name=name,
        version=version,
        created=utc_now(),
        family=type(scorer).__name__,
        score=Score(kind, float(scorer.curvature().detach())),
        dimension=layout.dimension,
        width=layout.width,
        precision=precision,
        entities=graph.num_entities,
        relations=graph.num_relations,
        loops=self_loop_relations(graph, source.recipe),
        traits=layout.trait_count,
        text=layout.text_count,
        dataset=Dataset(graph.name, graph.digest, {s: len(graph.split(s)) for s in SPLITS}),
        recipe=RecipeStamp(source.recipe.name, source.recipe.digest),
        libraries={module.__name__: module.__version__ for module in LIBRARIES},
    )


def _write_files(
    folder: Path,
    source: ExportSource,
    encoder: EncoderGraph,
    known: bool,
) -> None:
    """All files that need no measurement but the table; types come from train alone."""
    graph, given = source.graph, source.folder / TYPES_FILE
    write_onnx(encoder, folder / files.ENCODER)
    vocabulary = graph.vocabulary()
    vocabulary.write(folder / files.VOCABULARY)
    SearchIndex.build(vocabulary.entities.labels).write(folder / files.SEARCH)
    more = read_types(given, graph.entity_ids) if given.is_file() else {}
    types = EntityTypes.of_graph(graph.train, graph.relation_ids, graph.num_entities, more)
    types.write(folder / files.TYPES)
    if known:
        facts = KnownFacts.build(graph.all_triples, graph.num_entities, graph.num_relations)
        facts.write(folder / files.KNOWN)
    shutil.copyfile(source.recipe_path, folder / files.RECIPE)


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


def _write_table(
    folder: Path,
    scorer: Scorer,
    layout: Layout,
    precision: Precision,
    out: Path,
    filled: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Write the rounded table [E, W], and return it.

    Raises:
        BundleError: if a value does not fit the precision.
    """
    with torch.inference_mode():
        parts = scorer.spatial(), scorer.tail_bias, scorer.head_bias
        spatial, tail_bias, head_bias = (part.double().numpy() for part in parts)
    path, bits = folder / files.ENTITIES, BITS.get(precision)
    try:
        if bits is None:
            table = layout.pack(spatial, tail_bias, head_bias, precision, filled)
            write_table(path, table, precision)
        else:
            table, codec = pack_quantised(layout, spatial, tail_bias, head_bias, bits, filled)
            write_quantised(path, table, codec)
    except ValueError as error:
        raise BundleError(out, f"not published; {error}") from error
    return table


def _provenance(source: ExportSource, licence: str, priors: RelationPriors) -> Provenance:
    identity, progress = source.state["identity"], source.state["progress"]
    kept = self_loop_relations(source.graph, source.recipe)
    return Provenance(
        trained_on=source.state.get("machine"),
        exported_on=describe_machine(),
        seconds=progress["seconds"],
        epoch=progress["epoch"],
        seed=identity["seed"],
        teachers=tuple(identity.get("teachers", ())),
        notes=source.recipe.notes,
        licence=licence or _licence(source.folder),
        departures=tuple(departures(source.recipe)),
        self_loops=None if kept is None else tuple(source.graph.relation_ids[r] for r in kept),
        priors=tuple(_slot(source.graph, row) for row in priors.slots),
    )


def _slot(graph: Graph, row: int) -> str:
    relation = graph.relation_ids[row % graph.num_relations]
    return f"(.., {relation}, ?)" if row < graph.num_relations else f"(?, {relation}, ..)"


def _licence(folder: Path) -> str:
    """Where to read under which terms names and facts may be passed on."""
    found = sorted(path.name for path in folder.glob("LICEN[CS]E*"))
    where = f"file {', '.join(found)}" if found else "source"
    return f"The names and facts in this bundle are the data's; its licence: see its {where}."


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

"""The files of a bundle that need no measurement, and its first manifest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import faiss
import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

import mulde
from mulde.bundle import files
from mulde.bundle.entities.descriptions import Descriptions
from mulde.bundle.entities.entity_types import EntityTypes, read_types
from mulde.bundle.entities.label_search import SearchIndex
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.manifest import Dataset, Manifest, RecipeStamp, Score, utc_now
from mulde.bundle.table.entity_table import Layout, Precision
from mulde.bundle.table.quantised_table import BITS, pack_quantised
from mulde.errors import BundleError
from mulde.graph.graph import SPLITS
from mulde.graph.labels import read_descriptions
from training.evaluate import self_loop_relations
from training.export.encoder.onnx_encoder import EncoderGraph, write_onnx
from training.export.entity_map import draw_map
from training.export.export_source import ExportSource
from training.export.table.entity_table import write_quantised, write_table
from training.rules.path_rules import mine_path_rules
from training.scorers import Scorer

LIBRARIES = (mulde, torch, onnx, onnxruntime, faiss, np)
LABELS_FILE, TYPES_FILE = "labels.tsv", "types.tsv"


def first_manifest(
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


def write_files(
    folder: Path,
    source: ExportSource,
    encoder: EncoderGraph,
    known: bool,
    report: Callable[[str], None],
) -> None:
    """All files that need no measurement but the table; types and rules come from train alone."""
    graph, given = source.graph, source.folder / TYPES_FILE
    write_onnx(encoder, folder / files.ENCODER)
    vocabulary = graph.vocabulary()
    vocabulary.write(folder / files.VOCABULARY)
    SearchIndex.build(vocabulary.entities.labels).write(folder / files.SEARCH)
    labels = source.folder / LABELS_FILE
    texts = read_descriptions(labels) if labels.is_file() else {}
    if texts:
        told = Descriptions.build([texts.get(key, "") for key in graph.entity_ids])
        told.write(folder / files.DESCRIPTIONS)
    more = read_types(given, graph.entity_ids) if given.is_file() else {}
    types = EntityTypes.of_graph(graph.train, graph.relation_ids, graph.num_entities, more)
    types.write(folder / files.TYPES)
    facts_of = np.bincount(graph.train[:, [0, 2]].ravel(), minlength=graph.num_entities)
    with torch.inference_mode():
        spatial = source.scorer.spatial().double().numpy()
    draw_map(spatial, types, facts_of).write(folder / files.MAP)
    if known:
        facts = KnownFacts.build(graph.all_triples, graph.num_entities, graph.num_relations)
        facts.write(folder / files.KNOWN)
        mine_path_rules(graph, report=report).write(folder / files.RULES)
    shutil.copyfile(source.recipe_path, folder / files.RECIPE)


def write_points(
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

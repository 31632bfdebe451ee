"""Write the bundle of a synthetic graph in chunks, without training.

It has the files of a trained bundle. Its encoder is that of a RotH Junior with linear scores whose
rotations, translations and scales are the graph's own moves. Memory holds names and known facts,
never the whole table.

Shape letters: E entities, R relations, D dimension, W width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.synthetic.graph import SyntheticGraph
from benchmarks.synthetic.quantise import Points, fit_codec, pack_chunks, stream_table
from mulde.bundle import files
from mulde.bundle.draft import draft_bundle
from mulde.bundle.entities.label_search import SearchIndex
from mulde.bundle.entities.vocabulary import NameTable, Vocabulary
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.manifest import Dataset, Manifest, RecipeStamp, Score, utc_now
from mulde.bundle.table.entity_table import PRECISIONS, Layout, Precision
from mulde.storage.strings import StringColumn
from mulde.typing import Bytes
from training.export.encoder.onnx_encoder import EncoderGraph, write_onnx
from training.export.table.index_selection import write_cell_index
from training.ops import hyperbolic
from training.scorers.roth import RotH

_CURVATURE = 1.0

Report = Callable[[str], None]


def write_synthetic_bundle(
    graph: SyntheticGraph,
    out: Path,
    *,
    precision: Precision = "fp16",
    cells: bool = False,
    known: bool = True,
    search: bool = False,
    overwrite: bool = False,
    report: Report = lambda step: None,
) -> Manifest:
    """Write a bundle; equal arguments give equal files, but for the time in the manifest.

    Args:
        graph: its entities, relations and facts.
        out: the bundle's folder.
        precision: of the table: "fp16", "fp32" or "int8".
        cells: write an IVF index, so that a query searches a few lists of the table.
        known: write the facts.
        search: write the index of label search.
        overwrite: replace an existing bundle.
        report: called with the name of each step.

    Raises:
        BundleError: if ``out`` exists and may not be overwritten, or cannot be written.
    """
    layout = Layout(graph.dimension)
    with draft_bundle(out, overwrite=overwrite) as draft:
        report("table")
        write_chunks(draft.path / files.ENTITIES, graph, layout, precision)
        report("encoder and names")
        scorer = junior_of(graph)
        slopes = scorer.scale(torch.arange(2 * graph.relations))
        write_onnx(EncoderGraph(scorer, layout, slopes), draft.path / files.ENCODER)
        vocabulary = _vocabulary(graph)
        vocabulary.write(draft.path / files.VOCABULARY)
        if search:
            report("search")
            SearchIndex.build(vocabulary.entities.labels).write(draft.path / files.SEARCH)
        counts = {"train": 0, "valid": 0, "test": 0}
        if known:
            report("known facts")
            facts = KnownFacts.build(graph.all_facts(), graph.entities, graph.relations)
            facts.write(draft.path / files.KNOWN)
            counts["train"] = len(facts) // 2
        report("digests")
        sealed = draft.seal(_manifest(graph, out.name, layout, precision, counts))
        if cells:
            index = write_cell_index(draft.path, report)
            sealed = draft.seal(replace(sealed, index=index))
        draft.publish()
    return sealed


def write_chunks(path: Path, graph: SyntheticGraph, layout: Layout, precision: Precision) -> None:
    """Write the entity table chunk by chunk.

    Raises:
        BundleError: if it cannot be written.
        ValueError: for another precision than fp16, fp32 and int8.
    """

    def points() -> Iterator[Points]:
        return map(graph.points, graph.starts())

    if precision == "int8":
        codec = fit_codec(layout, points)
        rows = pack_chunks(layout, codec, points())
        stream_table(path, rows, graph.entities, layout.width, codec)
    elif precision in PRECISIONS:
        rows = (layout.pack(*chunk, precision) for chunk in points())
        stream_table(path, rows, graph.entities, layout.width, precision)
    else:
        raise ValueError(f"precision: expected fp16, fp32 or int8, found {precision}")


def junior_of(graph: SyntheticGraph) -> RotH:
    """The RotH scorer with the graph's moves; its own entities are not used."""
    scorer = RotH(1, graph.relations, graph.dimension, score="linear", generator=torch.Generator())
    moves = graph.moves()
    curvature = torch.tensor(_CURVATURE)
    blocks = np.stack([np.cos(moves.angles), np.sin(moves.angles)], axis=-1)
    shifts = torch.from_numpy(moves.shifts).float()
    with torch.no_grad():
        scorer.raw_curvature.copy_(_softplus_inverse(curvature))
        scorer.raw_scale.copy_(_softplus_inverse(torch.from_numpy(moves.slopes / 2).float()))
        scorer.rotation.copy_(torch.from_numpy(blocks.reshape(len(blocks), -1)).float())
        scorer.before.zero_()
        scorer.translation.copy_(hyperbolic.logmap0(shifts, curvature))
    return scorer.requires_grad_(False).eval()


def _softplus_inverse(values: torch.Tensor) -> torch.Tensor:
    return values + torch.log(-torch.expm1(-values))


def _vocabulary(graph: SyntheticGraph) -> Vocabulary:
    """Ids as numbers; every label is its id."""
    parts = [
        graph.id_bytes(np.arange(start, min(start + (1 << 20), graph.entities)))
        for start in range(0, graph.entities, 1 << 20)
    ]
    entities = _packed(np.concatenate(parts))
    relations = _packed(graph.relation_bytes(np.arange(graph.relations)))
    return Vocabulary(
        NameTable("entity", entities, entities), NameTable("relation", relations, relations)
    )


def _packed(text: Bytes) -> StringColumn:
    """Strings of equal length, [n, letters]."""
    return StringColumn.packed(text.reshape(-1), np.full(len(text), text.shape[1]))


def _manifest(
    graph: SyntheticGraph, name: str, layout: Layout, precision: Precision, counts: dict[str, int]
) -> Manifest:
    digest = hashlib.sha256(json.dumps(asdict(graph), sort_keys=True).encode()).hexdigest()
    return Manifest(
        name=name,
        version="1",
        created=utc_now(),
        family="synthetic",
        score=Score("linear", _CURVATURE),
        dimension=layout.dimension,
        width=layout.width,
        precision=precision,
        entities=graph.entities,
        relations=graph.relations,
        dataset=Dataset("synthetic", digest, counts),
        recipe=RecipeStamp("none", digest),
        libraries={np.__name__: np.__version__, torch.__name__: torch.__version__},
    )

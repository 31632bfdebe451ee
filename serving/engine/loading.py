"""Load a bundle: table, encoder, scorer and index, each checked against the manifest.

Shape letters: B queries, R relations, W width of the table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mulde.bundle.bundle import Bundle
from mulde.bundle.files import CANDIDATES, ENCODER, ENTITIES
from mulde.bundle.manifest import Index
from mulde.bundle.table.bounds import TableBounds
from mulde.bundle.table.entity_table import Layout
from mulde.errors import BundleError
from mulde.typing import Float64, Floats, Rows
from serving.engine.encoder import Encoder
from serving.engine.entity_table import EntityTable, Extent, scan_table
from serving.engine.index.base import CandidateIndex
from serving.engine.index.bounds import StoredBounds, with_margin
from serving.engine.index.faiss_table import FaissIndex, WholeTable
from serving.engine.index.int8 import Int8Index
from serving.engine.index.ivf import InvertedLists
from serving.engine.index.quantised import InexactProducts
from serving.engine.index.scan_graph import OPSET
from serving.engine.retriever import Retriever
from serving.engine.scoring import HeadQueries, NeighbourScorer, Query, scorer_for

_LEAST_SAMPLED = 64
_LEAST_WEIGHT = 1e-6


class LoadedModel:
    """A bundle whose parts agree with each other.

    Attributes:
        table: the entity table.
        encoder: of queries.
        scorer: of predictions.
        retriever: searches the answers of predictions.
        neighbour_scorer, neighbours: the same for the nearest entities.
        column_weights: [W], the usual size of a query's number in each column.
    """

    def __init__(self, bundle: Bundle, *, threads: int, low_memory: bool) -> None:
        """Load an opened bundle; see ``Engine``."""
        manifest, self._threads = bundle.manifest, threads
        self.layout = layout = manifest.layout
        # The table first: its file's size shows that the manifest's numbers can be believed.
        self.table = EntityTable(bundle.file(ENTITIES), manifest.entities, layout.width)
        self._taken = np.ones((2, layout.width), dtype=bool)
        self._taken[0, layout.priors] = False
        path = bundle.file(ENCODER)
        self.encoder = Encoder(path, layout.width, threads=threads, low_memory=low_memory)
        stored = StoredBounds.of(bundle)
        self._extent = _extent(self.table, layout, stored)
        self.scorer = scorer_for(manifest.score, layout, self._extent.tail_bias)
        sample = self._sample(manifest.relations)
        self._sampled = sample, self.encoder.check(sample.heads, sample.relations, layout)
        self.column_weights = column_weights(self._sampled[1], layout)
        index = Index("table") if low_memory and manifest.index.kind == "int8" else manifest.index
        candidates = self._open(index, bundle.path / CANDIDATES, stored)
        self.retriever = self._retriever(candidates)
        self.neighbour_scorer = NeighbourScorer(layout, manifest.score.curvature)
        self.neighbours = Retriever(
            self.table, self.neighbour_scorer, self._extent.row_norm, candidates
        )

    def questions(self, heads: Floats, relations: Rows, *, priors: bool) -> HeadQueries:
        """Return questions of heads [B, W] and relations [B], with relation priors or not."""
        taken = self._taken[int(priors)]
        return HeadQueries(self.encoder.encode, heads.astype(np.float32), relations, taken)

    def _sample(self, relations: int) -> HeadQueries:
        """Return a few questions of every relation."""
        rows = np.arange(2 * relations)
        rows = np.resize(rows, max(_LEAST_SAMPLED, len(rows)))
        entities = np.linspace(0, self.table.entities - 1, len(rows)).astype(np.int64)
        return self.questions(self.table.rows(entities), rows, priors=True)

    def _open(self, index: Index, codes: Path, stored: StoredBounds | None) -> CandidateIndex:
        if index.kind == "int8":
            try:
                return self._byte_index()
            except InexactProducts:  # this machine cannot multiply bytes exactly
                index = Index("table")
        parts = self.table, self._extent, self.column_weights
        return open_faiss(index, codes, *parts, stored, self._threads)

    def _byte_index(self) -> Int8Index:
        """Return an index that encodes, where its numbers are those of the encoder to the bit."""
        if self.encoder.opset >= OPSET:
            index = Int8Index(self.table, self.layout, self._threads, self.encoder)
            if index.encodes(*self._sampled):
                return index
        return Int8Index(self.table, self.layout, self._threads)

    def _retriever(self, index: CandidateIndex) -> Retriever:
        return Retriever(self.table, self.scorer, self._extent.row_norm, index, self.layout)

    def search_by(
        self, index: Index, codes: Path, measures: TableBounds | None = None
    ) -> Retriever:
        """Return a search by another index, to compare them.

        Args:
            index: which.
            codes: its file, for type ``ivf``.
            measures: of its lists, where they are known.

        Raises:
            BundleError: as for opening a bundle with that index.
        """
        stored = None if measures is None else StoredBounds(codes, measures, verified=True)
        return self._retriever(self._open(index, codes, stored))

    def measures(self, codes: Path) -> TableBounds:
        """Return bounds that every row of the table and of inverted lists keeps, to store.

        Args:
            codes: the file of the lists.

        Raises:
            BundleError: as for opening a bundle with them.
        """
        index = Index("ivf", cells=1, probes=1, fetched=1)
        weights = self.column_weights
        lists = InvertedLists(codes, self.table, index, weights, self._extent)
        return with_margin(lists.measures)


def open_faiss(
    index: Index,
    codes: Path,
    table: EntityTable,
    extent: Extent,
    weights: Float64,
    stored: StoredBounds | None = None,
    threads: int = 1,
) -> FaissIndex:
    """Open the index that a manifest names, of type ``table`` or ``ivf``.

    Args:
        index: the manifest's.
        codes: the file of type ``ivf``.
        table: the rows.
        extent: their largest numbers.
        weights: [W], see ``column_weights``.
        stored: the bundle's bounds of the lists.
        threads: for one search.

    Raises:
        BundleError: if the codes are missing, of another kind or of another table, or a row
            exceeds a stored bound.
    """
    whole = WholeTable(table, extent.row_norm)
    if index.kind == "ivf":
        lists = InvertedLists(codes, table, index, weights, extent, stored)
        return FaissIndex(lists, whole, threads)
    return FaissIndex(whole, whole, threads)


def _extent(table: EntityTable, layout: Layout, stored: StoredBounds | None) -> Extent:
    """Return the stored extent, after verification; else the measured one.

    Raises:
        BundleError: if a number is not finite, or exceeds the stored extent.
    """
    if stored is None:
        return scan_table(table, layout)
    extent = Extent(stored.measures.row_norm, stored.measures.tail_bias)
    if not stored.verified:
        found = scan_table(table, layout)
        if found.row_norm > extent.row_norm or found.tail_bias > extent.tail_bias:
            raise BundleError(stored.path, "a row exceeds a stored bound: its norm or its bias")
    return extent


def column_weights(query: Query, layout: Layout) -> Float64:
    """Return the usual size of a query's number in each column, [W].

    Args:
        query: queries of all relations.
        layout: of the table; queries have zeros for the head bias and beyond the traits.
    """
    weights: Float64 = np.sqrt(np.square(query.vector, dtype=np.float64).mean(axis=0))
    weights = np.maximum(weights, _LEAST_WEIGHT * weights.max())
    weights[layout.head_bias] = weights[layout.traits.stop :] = 0.0
    return weights

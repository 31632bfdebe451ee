"""From what a manifest says about its index to what searches it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.entity_table import Layout
from mulde.bundle.manifest import Index
from mulde.errors import BundleError
from serving.engine.checks.bundle import Extent
from serving.engine.encoder import Query
from serving.engine.entity_table import EntityIndex
from serving.engine.index.base import Candidates
from serving.engine.index.block_topk import Exhaustive
from serving.engine.index.bounds import Claims
from serving.engine.index.faiss_lists import Lists, WholeTable
from serving.engine.index.int8 import Scan
from serving.engine.index.int8_range import InexactProducts
from serving.engine.index.ivf import Cells

_LEAST_WEIGHT = 1e-6


def candidates_for(
    index: Index,
    codes: Path,
    table: EntityIndex,
    layout: Layout,
    extent: Extent,
    weights: NDArray[np.float64],
    threads: int,
    claims: Claims | None = None,
) -> Candidates:
    """The index that a manifest asks for.

    Args:
        index: the manifest's.
        codes: ``candidates.faiss``, for the kinds that have codes of their own.
        table: the rows.
        layout: their columns.
        extent: how large their numbers are.
        weights: [W], see ``column_weights``.
        threads: for one call.
        claims: what the bundle says of the table and its cells, if it does.

    Raises:
        BundleError: if the codes are missing, of another kind or of another table, or the claims
            are not true.
    """
    whole = WholeTable(table, extent.row_norm)
    if index.kind == "int8":
        try:
            return Exhaustive(Scan(table, layout, threads))
        except InexactProducts:  # this machine cannot multiply bytes exactly
            return Lists(whole)
    if index.kind == "table":
        return Lists(whole)
    if not codes.is_file():
        raise BundleError(codes, "an index of type ivf needs this file")
    probes, fetched = index.probes, index.fetched
    return Lists(Cells(codes, table, whole, weights, probes, fetched, extent, claims))


def column_weights(query: Query, layout: Layout) -> NDArray[np.float64]:
    """How much each column of the table weighs in products, [W]: the usual size of a query's.

    Args:
        query: queries of all relations.
        layout: of the table; queries have zeros for the head bias and beyond the traits.
    """
    weights: NDArray[np.float64] = np.sqrt(np.square(query.vector, dtype=np.float64).mean(axis=0))
    weights = np.maximum(weights, _LEAST_WEIGHT * weights.max())
    weights[layout.head_bias] = weights[layout.traits.stop :] = 0.0
    return weights

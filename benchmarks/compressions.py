"""A finished bilinear model in fewer bytes: 8 bits a number, product quantisation, PCA.

What a compressed model would answer is computed from a copy of its scorer whose entities are what
the compressed form says; what it costs is the search of its own FAISS index. Nothing is trained
again.

Shape letters: E entities, D dimension, C components kept.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import faiss
import numpy as np
import torch

from mulde.typing import Float32
from training.scorers import BilinearScorer, Scorer

COMPONENTS = 32
PARTS = (100, 20)
K = 10


@dataclass(frozen=True)
class Stored:
    """A model as it would be stored and searched.

    Attributes:
        title: how it is stored.
        scorer: what it answers.
        index: what searches it for the largest inner product; biases are left out.
        queries: float32 [n, width], queries as the index takes them.
        bytes_per_entity: of an entity's numbers; biases are left out.
        bytes_of_relations: of all else that has to be stored, in fp32.
        seconds: of the compression.
    """

    title: str
    scorer: Scorer
    index: faiss.Index
    queries: Float32
    bytes_per_entity: float
    bytes_of_relations: int
    seconds: float = 0.0


def whole(scorer: Scorer) -> Stored:
    """A model as it was trained: every number in fp32."""
    table = entities_of(scorer)
    return Stored(
        "fp32",
        scorer,
        _searching(faiss.IndexFlatIP(table.shape[1]), table),
        queries_of(scorer),
        4 * table.shape[1],
        _rest(scorer),
    )


def compressions(scorer: BilinearScorer) -> Iterator[Stored]:
    """A bilinear scorer in each of the compressed forms."""
    table = entities_of(scorer)
    dimension = table.shape[1]
    kind = faiss.ScalarQuantizer.QT_8bit
    metric = faiss.METRIC_INNER_PRODUCT
    codings: list[tuple[str, int, Callable[[], faiss.Index]]] = [
        ("int8", dimension, lambda: faiss.IndexScalarQuantizer(dimension, kind, metric)),
        *(
            (f"PQ of {parts} bytes", parts, lambda n=parts: faiss.IndexPQ(dimension, n, 8, metric))
            for parts in PARTS
        ),
    ]
    for title, size, make in codings:
        begin = perf_counter()
        index = _searching(make(), table)
        seconds = perf_counter() - begin
        answering = _with_entities(scorer, index.reconstruct_n(0, len(table)))
        rest = _rest(scorer) + (256 * dimension * 4 if title.startswith("PQ") else 8 * dimension)
        yield Stored(title, answering, index, queries_of(answering), size, rest, seconds)
    yield principal(scorer)


def principal(scorer: BilinearScorer) -> Stored:
    """PCA: C numbers an entity; a query is made in D dimensions and projected to C."""
    table = entities_of(scorer)
    begin = perf_counter()
    mean = table.mean(0)
    axes = np.linalg.svd(table - mean, full_matrices=False)[2][:COMPONENTS]
    small = (table - mean) @ axes.T
    seconds = perf_counter() - begin
    answering = _with_entities(scorer, small @ axes + mean)
    index = _searching(faiss.IndexFlatIP(COMPONENTS), small)
    queries = queries_of(answering) @ axes.T
    rest = _rest(scorer) + axes.nbytes + mean.nbytes
    title = f"PCA to {COMPONENTS} numbers"
    return Stored(title, answering, index, queries, 4 * COMPONENTS, rest, seconds)


@torch.no_grad()
def entities_of(scorer: Scorer) -> Float32:
    """[E, D], or [E, D + 1] of points: what is stored, and searched for an inner product."""
    spatial = scorer.spatial()
    if scorer.kind == "bilinear":
        return np.ascontiguousarray(spatial.numpy())
    excess = (1 + spatial.square().sum(-1, keepdim=True)).sqrt() - 1
    return np.ascontiguousarray(torch.cat([spatial, excess], -1).numpy())


@torch.no_grad()
def queries_of(scorer: Scorer, count: int = 1024) -> Float32:
    """Some queries as the index takes them: [n, D], or [n, D + 1] where points are searched."""
    draw = np.random.default_rng(1)
    rows = torch.from_numpy(draw.integers(scorer.num_entities, size=count))
    relation = torch.from_numpy(draw.integers(2 * scorer.num_relations, size=count))
    spatial, excess, _ = scorer.product(scorer.spatial(rows), relation, torch.ones(count))
    parts = spatial if scorer.kind == "bilinear" else torch.cat([spatial, excess[:, None]], -1)
    return np.ascontiguousarray(parts.numpy())


@torch.no_grad()
def _with_entities(scorer: BilinearScorer, table: Float32) -> BilinearScorer:
    """A copy of the scorer with other numbers for its entities."""
    other = copy.deepcopy(scorer)
    other.entity.copy_(torch.from_numpy(np.ascontiguousarray(table)))
    return other


def _searching(index: faiss.Index, table: Float32) -> faiss.Index:
    index.train(table)
    index.add(table)
    return index


def _rest(scorer: Scorer) -> int:
    """Bytes of all parameters that no entity has, in fp32."""
    entities = scorer.num_entities
    each = (one for one in scorer.parameters() if one.ndim == 0 or len(one) != entities)
    return sum(4 * weight.numel() for weight in each)


def microseconds(stored: Stored, batch: int, rounds: int = 9) -> float:
    """Least microseconds a query of searching the ten best, ``batch`` at once, on one thread.

    The least of the rounds, so that a round in which the machine did something else does not count.
    """
    taken = []
    starts = range(0, len(stored.queries) - batch + 1, batch)
    for _ in range(rounds):
        begin = perf_counter()
        for start in starts:
            stored.index.search(stored.queries[start : start + batch], K)
        taken.append((perf_counter() - begin) / (len(starts) * batch))
    return min(taken) * 1e6

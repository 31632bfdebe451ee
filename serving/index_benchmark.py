"""What a kind of index costs and finds on the machine at hand.

Times are medians of single calls on this thread, without the encoder, which all kinds share.

Shape letters: B queries, E entities, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from mulde.bundle.files import ENTITIES
from mulde.bundle.manifest import Index, Trial
from serving.engine.engine import Engine
from serving.engine.index.base import Exclusions, Search
from serving.engine.results import Results
from serving.engine.retriever import Retriever
from serving.engine.scoring import Query

TOP = 10
"""Answers to a query, in recall and in times."""

BATCH = 256
_SINGLES = 200
_REPEATS = 3
_SAMPLE = 512
_LEAST_CODED = 32


def sample_queries(engine: Engine, seed: int = 0) -> Query:
    """512 queries: every relation in turn, entities at random."""
    generator = np.random.default_rng(seed)
    relations = np.resize(np.arange(2 * engine.num_relations), _SAMPLE)
    return engine.encode(generator.integers(0, engine.num_entities, _SAMPLE), relations)


class Bench:
    """Compares kinds of index over one engine, by the same queries and the same truth."""

    def __init__(self, engine: Engine, query: Query) -> None:
        """Score the queries exhaustively.

        Args:
            engine: of the bundle.
            query: B queries.
        """
        self._engine, self._query = engine, query
        self._top = min(TOP, engine.num_entities)
        listed = engine.loaded.search_by(Index("table"), engine.bundle.path)
        # Certain to be what listing all scores gives, and quicker where there are many.
        found = self._search(listed, query, exact=True)
        self._least = found.scores[found.offsets[1:] - 1]

    def trial(self, index: Index, codes: Path) -> Trial:
        """Measure one kind.

        Args:
            index: which, with its parameters.
            codes: its file, for the kinds that have one.
        """
        retriever = self._engine.loaded.search_by(index, codes)
        found = self._search(retriever, self._query, exact=False)
        return Trial(
            kind=index.kind,
            bytes=self._file_bytes(index, codes),
            private_bytes=private_bytes(self._engine, index),
            recall=self._recall(found),
            certified=float(found.exact.mean()),
            single_us=self._single(retriever, exact=False),
            exact_us=self._single(retriever, exact=True),
            batch_us=self._batch(retriever),
            cells=index.cells,
            probes=index.probes,
            fetched=index.fetched,
        )

    def recall(self, retriever: Retriever) -> float:
        """Share of the exhaustive top 10 that is found without asking for exactness."""
        return self._recall(self._search(retriever, self._query, exact=False))

    def _recall(self, found: Results) -> float:
        good = found.scores >= self._least[found.owners]
        return float(good.sum() / (self._top * len(self._query)))

    def _file_bytes(self, index: Index, codes: Path) -> int:
        size = (self._engine.bundle.path / ENTITIES).stat().st_size
        return size + (codes.stat().st_size if index.kind == "ivf" else 0)

    def _search(self, retriever: Retriever, query: Query, *, exact: bool) -> Results:
        return retriever.search(query, Search(self._top, Exclusions.none(len(query)), exact=exact))

    def _single(self, retriever: Retriever, *, exact: bool) -> float:
        places = np.resize(np.arange(len(self._query)), _SINGLES)
        queries = [self._query.take(slice(at, at + 1)) for at in places.tolist()]
        for one in queries[: _SINGLES // 4]:
            self._search(retriever, one, exact=exact)
        calls = [partial(self._search, retriever, one, exact=exact) for one in queries]
        return 1e6 * float(np.median([_seconds(call) for call in calls]))

    def _batch(self, retriever: Retriever) -> float:
        batch = self._query.take(np.resize(np.arange(len(self._query)), BATCH))
        call = partial(self._search, retriever, batch, exact=True)
        seconds = [_seconds(call) for _ in range(_REPEATS + 1)][1:]
        return 1e6 * float(np.median(seconds)) / BATCH


def _seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def private_bytes(engine: Engine, index: Index) -> int:
    """What each process holds for a kind besides mapped files: copies of the table, by formula."""
    columns, size = engine.manifest.dimension + 2, engine.num_entities
    if index.kind == "int8":
        return (columns + 2) * size
    return 0


def candidates_to_try(entities: int) -> tuple[Index, ...]:
    """Kinds and parameters worth measuring for a table of so many rows."""
    cells = int(min(max(4, 3 * np.sqrt(entities)), max(4, entities // 8)))
    probes = sorted({max(1, cells // share) for share in (24, 12, 8, 5)})
    alone = (Index("int8"), Index("table"))
    if entities < _LEAST_CODED:
        return alone
    return (
        *alone,
        *(Index("ivf", cells=cells, probes=count, fetched=10) for count in probes),
    )

"""Relation priors of entities whose facts have changed since the training.

A prior column says whether known facts give the entity as an answer in some slots; an added fact
fills them, a removed one may empty them. The table's file stays as it is: entities whose columns
differ are searched apart. That is exact: the best unchanged rows are those of the table's search
without the changed ones, and the changed rows are few enough to be scored beside them.

Shape letters: E entities of the table, m changed ones, J prior columns, W width, B queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mulde.bundle.table.entity_table import Layout
from mulde.typing import Float32, Float64, Floats, Mask, Rows
from serving.engine.entity_table import EntityTable
from serving.engine.index.base import Search, TableSearch
from serving.engine.results import Results, joined, rank_pairs
from serving.engine.scoring import Query

_STEP_PAIRS = 1 << 20
_ERROR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class ChangedPriors:
    """Entities of the table whose prior columns differ from the table's.

    Attributes:
        table, layout: of the bundle.
        rows: int64 [m], ascending.
        columns: float32 [m, J], their prior columns now.
    """

    table: EntityTable
    layout: Layout
    rows: Rows
    columns: Float32

    def put(self, rows: Rows, picked: Floats) -> Floats:
        """Return rows of the table [..., W] of entities [...] with their columns of now."""
        places, changed = self._places(rows)
        if not changed.any():
            return picked
        fresh = picked.astype(np.float32)
        part = fresh[changed]
        part[:, self.layout.priors] = self.columns[places[changed]]
        fresh[changed] = part
        return fresh

    def _places(self, rows: Rows) -> tuple[Rows, Mask]:
        """Return a place among the changed rows for each row, and whether it is that row's."""
        places = np.minimum(self.rows.searchsorted(rows), len(self.rows) - 1)
        changed: Mask = self.rows[places] == rows
        return places, changed

    @cached_property
    def _now(self) -> Float32:
        """The changed rows as they are now, [m, W]."""
        now = self.table.rows(self.rows).astype(np.float32)
        now[:, self.layout.priors] = self.columns
        return now

    @cached_property
    def _error(self) -> float:
        """Twice what a float32 product with a query of length 1 is wrong by, at most."""
        return 2 * self.layout.width * _ERROR * float(np.linalg.norm(self._now, axis=1).max())

    def matter(self, query: Query) -> bool:
        """Return whether a query gives weight to relation priors."""
        return bool(query.vector[:, self.layout.priors].any())

    def rescore(self, retriever: TableSearch, query: Query, scores: Float64) -> None:
        """Put the scores of the changed rows into those [B, E] of all rows of the table."""
        scores[:, self.rows] = retriever.scorer.scores(query, self._now[None])

    def search(self, retriever: TableSearch, query: Query, wanted: Search) -> Results:
        """Return the k best rows of the table, changed ones with their columns of now."""
        results = self._unchanged(retriever, query, wanted)
        needed = _last_of(results, wanted.k) - query.offset - query.bias
        step = max(1, _STEP_PAIRS // len(self.rows))
        slices = (slice(start, start + step) for start in range(0, len(query), step))
        own = Results.join([self._own(retriever, query, wanted, needed, p) for p in slices])
        return joined(results, own, wanted.k)

    def _unchanged(self, retriever: TableSearch, query: Query, wanted: Search) -> Results:
        """Return the k best unchanged rows of each query, and others, or all that there are."""
        asked = wanted.k
        while True:
            results = retriever.search(query, wanted._replace(k=asked))
            kept = ~self._places(results.rows)[1]
            left = np.bincount(results.owners[kept], minlength=len(query))
            if ((left >= wanted.k) | (results.counts < asked)).all():
                return results.where(kept)
            asked *= 2

    def _own(
        self, retriever: TableSearch, query: Query, wanted: Search, needed: Float64, part: slice
    ) -> Results:
        """Return the changed rows that can be among the k best of some of the queries.

        Float32 products leave those that may reach the product that is needed; these are scored in
        float64.
        """
        query, first = query.take(part), part.start
        rough = query.vector @ self._now.T
        rough[wanted.excluded.take(first, first + len(query)).within(self.rows)] = -np.inf
        if wanted.allowed is not None:
            rough[:, ~np.isin(self.rows, wanted.allowed)] = -np.inf
        least = needed[part] - self._error * (np.linalg.norm(query.vector, axis=1) + 1)
        owners, places = np.nonzero((rough >= least[:, None]) & (rough > -np.inf))
        rows = self._now[places].astype(np.float64)
        scores = retriever.scorer.of_pairs(query, owners, rows)
        priors = retriever.priors(query, owners, rows)
        own = rank_pairs(owners, self.rows[places], scores, wanted.k, len(query), priors)
        return replace(own, seconds={"search": 0.0, "rescore": 0.0})


def _last_of(results: Results, k: int) -> Float64:
    """Return the score of each query's k-th answer, [B]; minus infinity without one."""
    last = np.full(len(results), -np.inf)
    full = results.counts >= k
    last[full] = results.scores[results.offsets[:-1][full] + k - 1]
    return last

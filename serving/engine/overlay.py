"""What came after the training: entities with rows of their own, and changed known facts.

Overlay rows follow those of the table: row E + i is entity i of the overlay. There are few of them,
so every search scores them all; an answer stays certified.

Shape letters: E entities of the table, O of the overlay, W width, B queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mulde.bundle.facts.amended_facts import FactLookup
from mulde.typing import Float32, Float64, Floats, Mask, Rows
from serving.engine.changed_priors import ChangedPriors
from serving.engine.entity_table import EntityTable
from serving.engine.index.base import Asked, Exclusions, Search, TableSearch
from serving.engine.results import Results, joined, rank_table
from serving.engine.scoring import ProductScorer, Query


@dataclass(frozen=True)
class Overlay:
    """Entities beyond the table.

    Attributes:
        first: E.
        as_query: float32 [O, W], rows as heads of queries.
        as_answer: float32 [O, W], rows as candidates.
        is_candidate: [O], whether each may be an answer.
    """

    first: int
    as_query: Float32
    as_answer: Float32
    is_candidate: Mask

    @classmethod
    def none(cls, entities: int, width: int) -> Overlay:
        """Return no entity beyond a table of E rows."""
        rows = np.zeros((0, width), np.float32)
        return cls(entities, rows, rows, np.zeros(0, bool))

    def __len__(self) -> int:
        """O."""
        return len(self.is_candidate)

    @property
    def stop(self) -> int:
        """E + O."""
        return self.first + len(self)

    def with_queries(self, as_query: Float32, as_answer: Float32) -> Overlay:
        """Return an overlay with further entities [n, W] that are no answers to other queries."""
        return replace(
            self,
            as_query=np.concatenate([self.as_query, as_query]),
            as_answer=np.concatenate([self.as_answer, as_answer]),
            is_candidate=np.concatenate([self.is_candidate, np.zeros(len(as_query), bool)]),
        )

    def query_rows(self, table: EntityTable, rows: Rows) -> Floats:
        """Return rows [..., W] of entities [...] as heads of queries."""
        return self._pick(table, self.as_query, rows)

    def answer_rows(self, table: EntityTable, rows: Rows) -> Floats:
        """Return rows [..., W] of entities [...] as candidates."""
        return self._pick(table, self.as_answer, rows)

    def _pick(self, table: EntityTable, own: Float32, rows: Rows) -> Floats:
        if not len(own):
            return table.rows(rows)
        beyond = rows >= self.first
        if not beyond.any():
            return table.rows(rows)
        picked = table.rows(np.where(beyond, 0, rows)).astype(np.float32)
        picked[beyond] = own[rows[beyond] - self.first]
        return picked

    def split(self, wanted: Search) -> Search:
        """Return what is wanted of the table alone."""
        excluded, allowed = wanted.excluded, wanted.allowed
        inside = excluded.rows < self.first
        everywhere = excluded.everywhere[excluded.everywhere < self.first]
        pairs = excluded.owners[inside], excluded.rows[inside]
        base = Exclusions(excluded.queries, *pairs, everywhere)
        if allowed is not None:
            allowed = allowed[: allowed.searchsorted(self.first)]
        return wanted._replace(excluded=base, allowed=allowed)

    def merge(
        self, retriever: TableSearch, query: Query, wanted: Search, results: Results
    ) -> Results:
        """Rank the overlay's entities among results of the table.

        Args:
            retriever: that searched the table.
            query: B queries.
            wanted: of all entities.
            results: the k best rows of the table.
        """
        rows = np.arange(self.first, self.stop)
        scores = self.scores(retriever.scorer, query)
        scores[wanted.excluded.within(rows)] = -np.inf
        if wanted.allowed is not None:
            scores[:, ~np.isin(rows, wanted.allowed)] = -np.inf
        own = rank_table(rows, scores, wanted.k)
        own.priors = retriever.priors(query, own.owners, self.as_answer[own.rows - self.first])
        return joined(results, own, wanted.k)

    def scores(self, scorer: ProductScorer, query: Query) -> Float64:
        """Return scores [B, O]; minus infinity for those that are no candidates."""
        scores = scorer.scores(query, self.as_answer[None])
        scores[:, ~self.is_candidate] = -np.inf
        return scores


@dataclass(frozen=True)
class Amendments:
    """What changed since the training.

    Attributes:
        known: known facts now; None where there are none at all.
        overlay: entities beyond the table.
        priors: entities of the table whose relation priors differ; None for none.
    """

    known: FactLookup | None
    overlay: Overlay
    priors: ChangedPriors | None = None

    def answer_rows(self, table: EntityTable, rows: Rows) -> Floats:
        """Return rows [..., W] of entities [...] as candidates."""
        picked = self.overlay.answer_rows(table, rows)
        return picked if self.priors is None else self.priors.put(rows, picked)

    def search(self, retriever: TableSearch, asked: Asked, wanted: Search) -> Results:
        """Search the table, and what is beside it."""
        if not len(self.overlay) and self.priors is None:
            return retriever.search(asked, wanted)
        query, base = asked.encoded(), self.overlay.split(wanted)
        if self.priors is not None and self.priors.matter(query):
            results = self.priors.search(retriever, query, base)
        else:
            results = retriever.search(query, base)
        if not len(self.overlay):
            return results
        return self.overlay.merge(retriever, query, wanted, results)

    def scores(self, retriever: TableSearch, query: Query) -> Float64:
        """Return scores [B, E + O] of every entity."""
        scores = retriever.scores(query)
        if self.priors is not None and self.priors.matter(query):
            self.priors.rescore(retriever, query, scores)
        if not len(self.overlay):
            return scores
        return np.concatenate([scores, self.overlay.scores(retriever.scorer, query)], axis=1)

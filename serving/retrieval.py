"""The best k rows for each query, three ways that give the same answers to the last bit.

    by_index    a few queries: FAISS searches the mapped table
    by_product  a batch: a tiled matrix product with block maxima
    by_listing  few candidates, or k near their number: score every one

The first two fetch more than k by a float32 product, score what they fetched in float64, and ask
the certificate whether anything else could belong to the answer; if so, and if exactness was asked
for, they fetch everything that could.

Shape letters: B queries, E entities, M fetched rows, N candidates, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from serving.candidates import Candidates, Excluded, Rows
from serving.certificate import Certificate
from serving.encoder import Query
from serving.product import Maxima, block_maxima, block_of, lane_of
from serving.scoring import Array, Scorer

_FEW_QUERIES = 3
_SPARE = 6
_SPARE_BLOCKS = 2
_CHUNK = 256
_SCORED_QUERIES = 32
_SCORED_PAIRS = 1 << 16
_LISTED_ROWS = 4096
_LISTED_PAIRS = 1 << 21
_UNSURE = 16


@dataclass
class Found:
    """Ranked rows for B queries, as compressed rows.

    Attributes:
        counts: int64 [B], how many rows each query has.
        rows: int64, best first, ties by ascending row; query after query.
        scores: float64, of each row.
        exact: bool [B], whether they are certainly those of exhaustive scoring.
        fetched: int64 [B], how many candidates were scored in float64.
        rescore_s: seconds that this took.
    """

    counts: Rows
    rows: Rows
    scores: Array
    exact: NDArray[np.bool_]
    fetched: Rows
    rescore_s: float = 0.0

    @property
    def owners(self) -> Rows:
        """The query of each row."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @classmethod
    def join(cls, parts: list[Found]) -> Found:
        """Batches one after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.exact for part in parts]),
            np.concatenate([part.fetched for part in parts]),
            sum(part.rescore_s for part in parts),
        )


class Retriever:
    """Search over one entity table."""

    def __init__(self, table: Candidates, scorer: Scorer, certificate: Certificate) -> None:
        """Put the parts together.

        Args:
            table: all entities.
            scorer: products to scores.
            certificate: thresholds for this table.
        """
        self._table, self._index, self._layout = table, table.index, table.layout
        self._scorer, self._certificate = scorer, certificate

    def best(
        self, query: Query, k: int, excluded: Excluded, allowed: Rows | None, *, exact: bool
    ) -> Found:
        """Ranked answers, the quickest way.

        Args:
            query: B queries.
            k: at least 1.
            excluded: what may not be an answer, for each query.
            allowed: ascending rows that may be answers to any of the queries; None for all.
            exact: do what it takes to certify each answer.
        """
        size = self._index.entities if allowed is None else len(allowed)
        blocks = (k + _SPARE_BLOCKS) * 32
        if len(query) <= _FEW_QUERIES:
            if allowed is not None or (k + len(excluded.rows) + _SPARE) * 8 > size:
                return self.by_listing(query, k, excluded, allowed)
            return self.by_index(query, k, excluded, exact=exact)
        if blocks > size:
            return self.by_listing(query, k, excluded, allowed)
        return self.by_product(query, k, excluded, allowed, exact=exact)

    def by_index(self, query: Query, k: int, excluded: Excluded, *, exact: bool) -> Found:
        """One FAISS search for each query."""
        if len(query) == 1:
            return self._search(query, k, excluded.rows, exact=exact)
        parts = [
            self._search(query.take(slice(one, one + 1)), k, excluded.of(one), exact=exact)
            for one in range(len(query))
        ]
        return Found.join(parts)

    def _search(self, query: Query, k: int, excluded: Rows, *, exact: bool) -> Found:
        size = self._index.entities
        count = min(size, k + len(excluded) + _SPARE)
        products, rows = self._index.search(query.vector, count)
        reach = float(products[0, -1]) if count < size else -np.inf
        found = self._ranked(query, k, rows[0], excluded)
        if reach == -np.inf:
            return found
        threshold = float(self._certificate.thresholds(query, found.scores[-1:])[0])
        if not reach < threshold:
            if not exact:
                found.exact[0] = False
                return found
            rows = self._index.above(query.vector[0], threshold)
            return self._ranked(query, k, rows, excluded)
        return found

    def _ranked(self, query: Query, k: int, rows: Rows, excluded: Rows) -> Found:
        """Score and rank fetched rows of one query, and claim that they suffice."""
        start = perf_counter()
        if len(excluded):
            rows = rows[~np.isin(rows, excluded)]
        scores = self._scorer.scores(query, self._index.rows(rows[None, :]))[0]
        order = np.lexsort((rows, -scores))[:k]
        one, every, seconds = np.array([len(order)]), np.array([len(rows)]), perf_counter() - start
        return Found(one, rows[order], scores[order], np.array([True]), every, seconds)

    def by_product(
        self, query: Query, k: int, excluded: Excluded, allowed: Rows | None, *, exact: bool
    ) -> Found:
        """A tiled matrix product for each 256 queries."""
        candidates = self._candidates(allowed)
        parts = []
        for start in range(0, len(query), _CHUNK):
            stop = min(start + _CHUNK, len(query))
            part, barred = query.take(slice(start, stop)), excluded.take(start, stop)
            parts.append(self._multiply(part, k, barred, candidates, exact=exact))
        return Found.join(parts)

    def _candidates(self, allowed: Rows | None) -> Candidates:
        if allowed is None:
            return self._table
        return Candidates(self._index, self._layout, allowed)

    def _multiply(
        self, query: Query, k: int, excluded: Excluded, candidates: Candidates, *, exact: bool
    ) -> Found:
        skipped = candidates.skipped(excluded)
        maxima = block_maxima(candidates.tiles, candidates.size, candidates.queries(query), skipped)
        blocks, reach = maxima.best(k + _SPARE_BLOCKS)
        start = perf_counter()
        places = maxima.rows(blocks)
        scores = self._score_blocks(query, candidates, places)
        _bar(scores, blocks, skipped)
        flat = scores.reshape(len(query), -1)
        rows = candidates.rows_of(np.minimum(places, candidates.size - 1))
        found = top(rows.reshape(len(query), -1), flat, k)
        found.exact = self._sure(query, found, k, reach)
        unsure = np.flatnonzero(~found.exact)
        if exact and len(unsure):
            found = self._widen(query, k, excluded, candidates, maxima, found, unsure)
        found.rescore_s = perf_counter() - start
        return found

    def _score_blocks(self, query: Query, candidates: Candidates, places: Rows) -> Array:
        """Scores [B, C, S] of rows at ``places`` [B, C, S]; minus infinity beyond the end."""
        queries = len(query)
        scores = np.empty(places.shape)
        rows = candidates.rows_of(np.minimum(places, candidates.size - 1)).reshape(queries, -1)
        for start in range(0, queries, _SCORED_QUERIES):
            part = slice(start, start + _SCORED_QUERIES)
            table = self._index.rows(rows[part])
            scores[part] = self._scorer.scores(query.take(part), table).reshape(
                -1, *places.shape[1:]
            )
        scores[places >= candidates.size] = -np.inf
        return scores

    def _sure(
        self, query: Query, found: Found, k: int, reach: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Whether nothing that was not fetched counts; its products are at most ``reach``."""
        last = np.cumsum(found.counts) - 1
        full = found.counts == k
        worst = np.where(full, found.scores[np.maximum(last, 0)] if len(found.scores) else 0.0, 0.0)
        below = reach < self._certificate.thresholds(query, worst)
        return np.asarray((full & below) | (reach == -np.inf))

    def _widen(
        self,
        query: Query,
        k: int,
        excluded: Excluded,
        candidates: Candidates,
        maxima: Maxima,
        found: Found,
        unsure: Rows,
    ) -> Found:
        """Score again, for unsure queries, everything that could belong to their answers."""
        last = np.cumsum(found.counts) - 1
        thresholds = self._certificate.thresholds(query.take(unsure), found.scores[last[unsure]])
        sure = found.exact[found.owners]
        pairs = [(found.owners[sure], found.rows[sure], found.scores[sure])]
        for start in range(0, len(unsure), _UNSURE):
            part = unsure[start : start + _UNSURE]
            owners, blocks = maxima.reaching(part, thresholds[start : start + _UNSURE])
            places = maxima.rows(blocks)
            owners = np.repeat(part[owners], places.shape[1])
            inside = (places := places.reshape(-1)) < candidates.size
            owners, rows = owners[inside], candidates.rows_of(places[inside])
            allowed = ~excluded.holds(owners, rows)
            owners, rows = owners[allowed], rows[allowed]
            pairs.append((owners, rows, self._score_pairs(query, owners, rows)))
        owners, rows, scores = (np.concatenate(column) for column in zip(*pairs, strict=True))
        fetched = np.where(found.exact, found.fetched, np.bincount(owners, minlength=len(query)))
        return _rank(owners, rows, scores, k, fetched)

    def _score_pairs(self, query: Query, owners: Rows, rows: Rows) -> Array:
        scores = np.empty(len(rows))
        for start in range(0, len(rows), _SCORED_PAIRS):
            part = slice(start, start + _SCORED_PAIRS)
            table = self._index.rows(rows[part, None])
            scores[part] = self._scorer.scores(query.take(owners[part]), table)[:, 0]
        return scores

    def by_listing(self, query: Query, k: int, excluded: Excluded, allowed: Rows | None) -> Found:
        """Score every candidate."""
        every = np.arange(self._index.entities) if allowed is None else allowed
        step = max(1, _LISTED_PAIRS // max(1, len(every)))
        candidates = Candidates(self._index, self._layout, allowed, keep=False)
        parts = []
        for start in range(0, len(query), step):
            stop = min(start + step, len(query))
            scores = self.scores(query.take(slice(start, stop)), allowed)
            places, owners = candidates.skipped(excluded.take(start, stop))
            scores[owners, places] = -np.inf
            parts.append(top(np.broadcast_to(every, scores.shape), scores, k))
        return Found.join(parts)

    def scores(self, query: Query, rows: Rows | None = None) -> Array:
        """Scores [B, N] of ``rows`` [N], or of all entities."""
        size = self._index.entities if rows is None else len(rows)
        scores = np.empty((len(query), size))
        for start in range(0, size, _LISTED_ROWS):
            stop = min(start + _LISTED_ROWS, size)
            wanted = np.arange(start, stop) if rows is None else rows[start:stop]
            scores[:, start:stop] = self._scorer.scores(query, self._index.rows(wanted[None, :]))
        return scores


def _bar(scores: Array, blocks: Rows, skipped: tuple[Rows, Rows]) -> None:
    """Set the scores [B, C, S] of skipped (place, query) pairs to minus infinity."""
    places, owners = skipped
    pair, choice = np.nonzero(blocks[owners] == block_of(places)[:, None])
    scores[owners[pair], choice, lane_of(places[pair])] = -np.inf


def top(rows: Rows, scores: Array, k: int) -> Found:
    """The best k of candidates [B, N] whose score is above minus infinity."""
    queries, size = scores.shape
    if k < size:
        least = np.partition(scores, size - k, axis=1)[:, size - k, None]
        chosen = (scores >= least) & (scores > -np.inf)
    else:
        chosen = scores > -np.inf
    owners, places = np.nonzero(chosen)
    fetched = np.full(queries, size) - np.count_nonzero(np.isneginf(scores), axis=1)
    return _rank(owners, rows[owners, places], scores[owners, places], k, fetched)


def _rank(owners: Rows, rows: Rows, scores: Array, k: int, fetched: Rows) -> Found:
    """Order pairs by query, falling score and rising row, and keep k for each query."""
    order = np.lexsort((rows, -scores, owners))
    owners = owners[order]
    starts = np.searchsorted(owners, np.arange(len(fetched)))
    kept = np.arange(len(owners)) - starts[owners] < k
    counts = np.bincount(owners[kept], minlength=len(fetched))
    order = order[kept]
    exact = np.ones(len(fetched), dtype=bool)
    return Found(counts, rows[order], scores[order], exact, fetched)

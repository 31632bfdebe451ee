"""The best k rows for each query, three ways that give the same answers to the last bit.

    by_scan     the table in bytes, with a bound on what the bytes lose; the quickest
    by_index    FAISS over the mapped table, one query a time; takes no memory of its own
    by_listing  every candidate scored: where few are allowed, or k is near their number

The first two fetch more than k by a rough product, score what they fetched in float64, and ask the
certificate whether anything else could belong to the answer; if so, and if exactness was asked for,
they fetch everything that could.

Shape letters: B queries, N candidates, n pairs of a query and a row.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from serving.engine.certificate import Certificate
from serving.engine.encoder import Query
from serving.engine.excluded import Excluded, Rows
from serving.engine.found import Found, rank, top
from serving.engine.index import EntityIndex
from serving.engine.scan import LOWEST, Products, Scan, whole
from serving.engine.scoring import Array, Scorer
from serving.engine.view import View

_SPARE = 6
_ROUNDING = 3.0
_SCANNED_PAIRS = 1 << 21
_SCANNED_QUERIES = 256
_SCORED_PAIRS = 1 << 16
_LISTED_ROWS = 4096
_LISTED_PAIRS = 1 << 21
_FEW_PAIRS = 1 << 14


class Retriever:
    """Search over one entity table."""

    def __init__(
        self, index: EntityIndex, scorer: Scorer, certificate: Certificate, scan: Scan | None
    ) -> None:
        """Put the parts together.

        Args:
            index: the table.
            scorer: products to scores.
            certificate: thresholds for this table.
            scan: the table in bytes; None to do without.
        """
        self._index, self._scorer = index, scorer
        self._certificate, self._scan = certificate, scan

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
        few = allowed is not None and (self._scan is None or len(query) * size <= _FEW_PAIRS)
        if few or 8 * k > size:
            return self.by_listing(query, k, excluded, allowed)
        if self._scan is None:
            return self.by_index(query, k, excluded, exact=exact)
        return self.by_scan(query, k, excluded, allowed, exact=exact)

    def by_scan(
        self, query: Query, k: int, excluded: Excluded, allowed: Rows | None, *, exact: bool
    ) -> Found:
        """Byte products for some queries at a time, few enough for them to stay in the cache."""
        assert self._scan is not None
        step = min(max(1, _SCANNED_PAIRS // self._scan.size), _SCANNED_QUERIES)
        if len(query) <= step:
            return self._look(self._scan, query, k, excluded, allowed, exact=exact)
        parts = []
        for start in range(0, len(query), step):
            stop = min(start + step, len(query))
            part, barred = query.take(slice(start, stop)), excluded.take(start, stop)
            parts.append(self._look(self._scan, part, k, barred, allowed, exact=exact))
        return Found.join(parts)

    def _look(
        self,
        scan: Scan,
        query: Query,
        k: int,
        excluded: Excluded,
        allowed: Rows | None,
        *,
        exact: bool,
    ) -> Found:
        # Where the score rises with the product, this is all: the k greatest byte products belong
        # to rows whose products are at least the k-th less ``loss``, and what is below the floors
        # has a smaller product than each of them. Elsewhere the certificate is asked.
        looks = scan.look(query)
        view = View.of(scan, looks, excluded, allowed)
        # The k-th product may lose, and others gain, ``loss``; rounding may cost a little more.
        floors = whole(view.least(k) - 2 * looks.loss / looks.step - _ROUNDING)
        start = perf_counter()
        owners, rows = view.reaching(np.arange(len(query)), floors)
        scores = self._score_pairs(query, owners, rows)
        found = rank(owners, rows, scores, k, len(query))
        if not self._scorer.is_monotone:
            needed = looks.floors(self._certificate.thresholds(query, found.last))
            found.exact = (floors == LOWEST + 1) | ((found.counts == k) & (needed >= floors))
            if exact and not found.exact.all():
                unsure = np.flatnonzero(~found.exact)
                found = self._widen(query, k, view, needed[unsure], unsure, found)
        found.rescore_s = perf_counter() - start
        return found

    def _widen(
        self, query: Query, k: int, view: View, floors: Products, unsure: Rows, found: Found
    ) -> Found:
        """Fetch, for unsure queries, everything that could belong to their answers."""
        sure = found.exact[found.owners]
        owners, rows = view.reaching(unsure, floors)
        scores = self._score_pairs(query, owners, rows)
        better = rank(
            np.concatenate([found.owners[sure], owners]),
            np.concatenate([found.rows[sure], rows]),
            np.concatenate([found.scores[sure], scores]),
            k,
            len(query),
        )
        better.fetched = np.where(found.exact, found.fetched, better.fetched)
        return better

    def _score_pairs(self, query: Query, owners: Rows, rows: Rows) -> Array:
        """Scores [n] of rows [n] for the queries that own them."""
        if len(query) == 1 and len(rows) <= _SCORED_PAIRS:
            alone: Array = self._scorer.scores(query, self._index.rows(rows[None, :]))[0]
            return alone
        scores = np.empty(len(rows))
        for start in range(0, len(rows), _SCORED_PAIRS):
            part = slice(start, start + _SCORED_PAIRS)
            table = self._index.rows(rows[part, None])
            scores[part] = self._scorer.scores(query.take(owners[part]), table)[:, 0]
        return scores

    def by_index(self, query: Query, k: int, excluded: Excluded, *, exact: bool) -> Found:
        """One FAISS search for each query."""
        parts = [
            self._search(query.take(slice(one, one + 1)), k, excluded.of(one), exact=exact)
            for one in range(len(query))
        ]
        return Found.join(parts)

    def _search(self, query: Query, k: int, excluded: Rows, *, exact: bool) -> Found:
        size = self._index.entities
        count = k + len(excluded) + _SPARE
        if 8 * count > size:
            return self.by_listing(query, k, Excluded.nothing(1).with_all(excluded), None)
        products, rows = self._index.search(query.vector, count)
        found = self._rank_fetched(query, k, rows[0], excluded)
        threshold = float(self._certificate.thresholds(query, found.last)[0])
        found.exact[0] = float(products[0, -1]) < threshold
        if exact and not found.exact[0]:
            rows = self._index.above(query.vector[0], threshold)
            return self._rank_fetched(query, k, rows, excluded)
        return found

    def _rank_fetched(self, query: Query, k: int, rows: Rows, excluded: Rows) -> Found:
        start = perf_counter()
        rows = rows[~np.isin(rows, excluded)] if len(excluded) else rows
        owners = np.zeros(len(rows), dtype=np.int64)
        found = rank(owners, rows, self._score_pairs(query, owners, rows), k, 1)
        found.rescore_s = perf_counter() - start
        return found

    def by_listing(self, query: Query, k: int, excluded: Excluded, allowed: Rows | None) -> Found:
        """Score every candidate."""
        every = np.arange(self._index.entities) if allowed is None else allowed
        step = max(1, _LISTED_PAIRS // max(1, len(every)))
        parts = []
        for start in range(0, len(query), step):
            stop = min(start + step, len(query))
            scores = self.scores(query.take(slice(start, stop)), allowed)
            owners, places = excluded.take(start, stop).within(allowed)
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

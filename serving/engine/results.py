"""Ranked answers to a batch, and how scored candidates become ranked.

Shape letters: B queries, A answers of all queries together, K candidates, n pairs of a query and a
row.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mulde.typing import Array, Float64, Mask, Offsets, Rows

_FEW_PAIRS = 512
_ANSWERS = ("rows", "scores", "priors", "known")
_COLUMNS = (*_ANSWERS, "exact", "fetched", "candidates", "self_loop_excluded")


@dataclass(slots=True)  # a frozen one takes four times as long to make
class Results:
    """Ranked answers to B queries; equal ones by ascending row.

    Attributes:
        offsets: int64 [B + 1]; query i's answers are ``offsets[i]`` to ``offsets[i + 1]``.
        rows: int64 [A], of entities (of relations from ``Engine.relations``).
        scores: float64 [A], the scorer's; finite.
        exact: bool [B], whether the answers are certified to be those of exhaustive scoring.
        fetched: int64 [B], how many candidates were scored in float64.
        candidates: int64 [B], how many answers there were before a threshold.
        priors: float64 [A], relation priors; answers are ranked by score + prior. None: by score.
        known: bool [A], whether the answer is a known fact; None where that was not looked up.
        self_loop_excluded: bool [B], whether the query's own entity (or, from
            ``Engine.relations``, a relation without self-loops) was left out as a self-loop; None
            where no query has such an exclusion.
        seconds: where the time went: "search", the encoder included, and "rescore".
    """

    offsets: Offsets
    rows: Rows
    scores: Float64
    exact: Mask
    fetched: Rows
    candidates: Rows
    priors: Float64 | None = None
    known: Mask | None = None
    self_loop_excluded: Mask | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def none(cls) -> Results:
        """Return the results of no query."""
        rows = np.zeros(0, np.int64)
        return cls(np.zeros(1, np.int64), rows, np.zeros(0), np.zeros(0, bool), rows, rows)

    @classmethod
    def join(cls, parts: list[Results]) -> Results:
        """Return the results of batches one after another."""
        if len(parts) == 1:
            return parts[0]
        offsets = offsets_of(np.concatenate([part.counts for part in parts]))
        columns: dict[str, Any] = {name: _joined(parts, name) for name in _COLUMNS}
        seconds = {name: sum(p.seconds[name] for p in parts) for name in parts[0].seconds}
        return cls(offsets=offsets, seconds=seconds, **columns)

    def where(self, kept: Mask) -> Results:
        """Return some of the answers, [A]; ``candidates`` still counts all of them."""
        counts = np.bincount(self.owners[kept], minlength=len(self))
        return replace(self, offsets=offsets_of(counts), **self._answers(kept))

    def part(self, start: int, stop: int) -> Results:
        """Return the answers to queries ``start`` to ``stop``."""
        first, last = self.offsets[[start, stop]].tolist()
        loops = self.self_loop_excluded
        return replace(
            self,
            offsets=self.offsets[start : stop + 1] - first,
            exact=self.exact[start:stop],
            fetched=self.fetched[start:stop],
            candidates=self.candidates[start:stop],
            self_loop_excluded=None if loops is None else loops[start:stop],
            **self._answers(slice(first, last)),
        )

    def _answers(self, which: Mask | slice) -> dict[str, Any]:
        """Return the columns of some of the answers."""
        columns = {name: getattr(self, name) for name in _ANSWERS}
        return {name: None if c is None else c[which] for name, c in columns.items()}

    def __len__(self) -> int:
        """B."""
        return len(self.exact)

    @property
    def counts(self) -> Rows:
        """Number of answers of each query, [B]."""
        counts: Rows = self.offsets[1:] - self.offsets[:-1]
        return counts

    @property
    def owners(self) -> Rows:
        """The query of each answer, [A]."""
        return np.arange(len(self)).repeat(self.counts)

    @property
    def totals(self) -> Float64:
        """What answers are ranked by, [A]: score + prior."""
        return self.scores if self.priors is None else self.scores + self.priors


def _joined(parts: list[Results], name: str) -> Array | None:
    columns = [getattr(part, name) for part in parts]
    return None if columns[0] is None else np.concatenate(columns)


def offsets_of(counts: Rows) -> Offsets:
    """Return offsets [B + 1] of parts of ``counts`` [B] elements."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    counts.cumsum(out=offsets[1:])
    return offsets


def rank_pairs(
    owners: Rows, rows: Rows, scores: Float64, k: int, queries: int, priors: Float64 | None = None
) -> Results:
    """Rank pairs [n] within each query by falling score, then rising row, and keep k of each.

    Args:
        owners: [n], ascending: the query of each pair.
        rows: [n].
        scores: [n].
        k: at least 1.
        queries: B.
        priors: [n], of each pair, kept beside it.
    """
    if queries == 1:
        return _rank_one(rows, scores, k, priors)
    order = _order(owners, rows, scores)
    fetched = np.bincount(owners, minlength=queries)
    counts = np.minimum(fetched, k)
    offsets = offsets_of(counts)
    kept = int(offsets[-1])
    if len(order) > kept:
        skipped = offsets_of(fetched - counts)[:-1]
        order = order.take(np.arange(kept) + skipped.repeat(counts))
    return Results(
        offsets,
        rows.take(order),
        scores.take(order),
        np.ones(queries, dtype=bool),
        fetched,
        counts,
        None if priors is None else priors.take(order),
    )


def _rank_one(rows: Rows, scores: Float64, k: int, priors: Float64 | None) -> Results:
    """Rank the candidates [n] of one query: a third of the calls, which are all its time."""
    order = np.lexsort((rows, -scores))[:k]
    counts = np.array([len(order)])
    return Results(
        np.array([0, len(order)]),
        rows.take(order),
        scores.take(order),
        np.ones(1, dtype=bool),
        np.array([len(rows)]),
        counts,
        None if priors is None else priors.take(order),
    )


def joined(results: Results, more: Results, k: int) -> Results:
    """Return the k best of two results of the same queries; ``exact`` is that of the first.

    Args:
        results: of some rows.
        more: of others.
        k: at least 1.
    """
    owners = np.concatenate([results.owners, more.owners])
    order = owners.argsort(kind="stable")
    rows, scores = (
        np.concatenate([getattr(results, name), getattr(more, name)])[order]
        for name in ("rows", "scores")
    )
    priors = None
    if results.priors is not None and more.priors is not None:
        priors = np.concatenate([results.priors, more.priors])[order]
    merged = rank_pairs(owners[order], rows, scores, k, len(results), priors)
    merged.exact, merged.seconds = results.exact, results.seconds
    merged.fetched = results.fetched + more.fetched
    return merged


def _order(owners: Rows, rows: Rows, scores: Float64) -> Rows:
    """Return the order of pairs by query, falling score and rising row."""
    if len(owners) <= _FEW_PAIRS:
        return np.lexsort((rows, -scores, owners))
    order = np.argsort(-scores)
    # A stable sort of 16 bits is a radix sort, some times faster than lexsort.
    narrow = owners.astype(np.uint16 if owners[-1] < 1 << 16 else np.int64)
    order = order[narrow[order].argsort(kind="stable")]
    ranked = scores[order]
    if ((ranked[1:] == ranked[:-1]) & (owners[1:] == owners[:-1])).any():
        order = np.lexsort((rows, -scores, owners))
    return order


def rank_table(rows: Rows, scores: Float64, k: int) -> Results:
    """Rank candidates ``rows`` [K] by scores [B, K]; minus infinity is no answer."""
    queries, size = scores.shape
    chosen = scores > -np.inf
    fetched = np.count_nonzero(chosen, axis=1)
    if k < size:
        chosen &= scores >= np.partition(scores, size - k, axis=1)[:, size - k, None]
    owners, places = chosen.nonzero()
    results = rank_pairs(owners, rows[places], scores[owners, places], k, queries)
    results.fetched = fetched
    return results

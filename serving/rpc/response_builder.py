"""Answers to the packed arrays of the contract.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulde.v1 import common_pb2
from serving.engine.answers import Answers
from serving.engine.exclusions import Rows
from serving.engine.scoring import Array
from serving.registry.entity_resolver import Resolved
from serving.registry.label_cache import Shown
from serving.rpc.handlers import status_of

_CANDIDATES = common_pb2.SHORTFALL_CANDIDATES
_THRESHOLD = common_pb2.SHORTFALL_THRESHOLD


def pack_answers(
    target: common_pb2.Answers,
    answers: Answers,
    resolved: Resolved,
    k: int,
    names: Shown,
    view: int,
    *,
    probabilities: Array | None = None,
    known_facts: common_pb2.KnownFacts = common_pb2.KNOWN_FACTS_UNSPECIFIED,
    request_id: str = "",
) -> None:
    """Lay answers out.

    Args:
        target: part of a response, empty; filled in place, for strings are slow to copy.
        answers: to the queries that did not fail, in order.
        resolved: the whole batch, with those that failed.
        k: answers that were asked for.
        names: of the rows that are answers.
        view: a NameView other than unspecified.
        probabilities: [A], or None where there is no calibration.
        known_facts: what was done about them.
        request_id: for errors of ours.
    """
    offsets, shortfalls = answers.offsets, _shortfalls(answers, k)
    exact, fetched = answers.exact, answers.fetched
    if resolved.errors:
        valid, size = resolved.valid, resolved.size
        counts, shortfalls, exact, fetched = (
            spread(column, valid, size) for column in (answers.counts, shortfalls, exact, fetched)
        )
        offsets = np.concatenate([[0], np.cumsum(counts)])
        target.errors.extend(pack_errors(resolved, request_id))
    target.codes.extend(codes_of(resolved))
    target.offsets.extend(offsets.tolist())
    target.rows.extend(answers.rows.tolist())
    target.scores.extend(answers.scores.tolist())
    if view != common_pb2.NAME_VIEW_ROW:
        ids = names.ids.take(answers.rows)
        target.ids.extend(ids)
        if view != common_pb2.NAME_VIEW_ID:
            same = names.labels is names.ids
            target.labels.extend(ids if same else names.labels.take(answers.rows))
    if probabilities is not None:
        target.probabilities.extend(probabilities.tolist())
    if answers.known is not None:
        target.known.extend(answers.known.tolist())
    target.known_facts = known_facts
    target.exact.extend(exact.tolist())
    target.fetched.extend(fetched.tolist())
    target.shortfalls.extend(shortfalls.tolist())


def _shortfalls(answers: Answers, k: int) -> NDArray[Any]:
    """Why each query that did not fail has fewer than k answers, [B]."""
    if len(answers.rows) == k * len(answers):  # none has more than k
        return np.zeros(len(answers), dtype=np.int64)
    counts = answers.counts
    short = np.where(answers.candidates < k, _CANDIDATES, _THRESHOLD)
    return np.where(counts < k, short, 0)


def spread(column: NDArray[Any], valid: Rows, size: int) -> NDArray[Any]:
    """Values of the queries that did not fail at their places in the batch; 0 elsewhere."""
    spread = np.zeros(size, dtype=column.dtype)
    spread[valid] = column
    return spread


def codes_of(resolved: Resolved) -> list[int]:
    """google.rpc.Code of each query, [B]."""
    codes = [0] * resolved.size
    for place, error in resolved.errors.items():
        codes[place] = status_of(error, "").code
    return codes


def pack_errors(resolved: Resolved, request_id: str) -> list[common_pb2.QueryError]:
    """The failed queries in the order of the batch."""
    return [
        common_pb2.QueryError(query=place, status=status_of(error, request_id))
        for place, error in sorted(resolved.errors.items())
    ]

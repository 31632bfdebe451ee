"""Build responses from arrays, chunk by chunk.

Serialised messages that follow each other are one message whose repeated fields are joined. So the
answers of a chunk are serialised as soon as they are there, and a response of many chunks takes
little more memory than its bytes.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulde.typing import Float64, Mask, Rows
from mulde.v1 import common_pb2
from serving.engine.engine import Engine
from serving.engine.results import Results
from serving.registry.entity_resolver import LabelCache, Resolved
from serving.registry.model import Model
from serving.rpc.handlers import Call
from serving.rpc.status import status_of

_CANDIDATES = common_pb2.SHORTFALL_CANDIDATES
_THRESHOLD = common_pb2.SHORTFALL_THRESHOLD

Numbers = dict[str, Float64]
"""Fields of ``mulde.v1.Answers`` with one number for each answer, [A] each."""


class AnswersBuilder:
    """Builds a response with ``model`` and ``answers`` from the results of successive chunks."""

    def __init__(
        self, response: Any, model: Model, resolved: Resolved, k: int, names: LabelCache, view: int
    ) -> None:
        """Begin with no answers.

        Args:
            response: an empty message.
            model: that answers.
            resolved: the whole batch, with the queries that failed.
            k: answers that were asked for.
            names: of the rows that are answers.
            view: a NameView other than unspecified.
        """
        self._response, self._model, self._resolved = response, model, resolved
        self._k, self._names, self._view = k, names, view
        self._parts: list[bytes] = []
        self._chunks: list[tuple[NDArray[Any], ...]] = []

    def add(self, answers: Results, numbers: Numbers, call: Call) -> None:
        """Add the answers of the next queries that did not fail.

        Args:
            answers: in order.
            numbers: further fields of the answers, [A] each, by name.
            call: counts the bytes of the response.

        Raises:
            Overloaded: if too many bytes of responses are under way.
        """
        if self._chunks:
            self._parts.append(self._response.SerializeToString())
            # A message that is cleared keeps its memory; a new one does not.
            self._response = type(self._response)()
            call.reserve(len(self._parts[-1]))
        shortfalls = _shortfalls(answers, self._k)
        self._chunks.append((answers.counts, answers.exact, answers.fetched, shortfalls))
        target = self._response.answers
        target.rows.extend(answers.rows.tolist())
        target.scores.extend(answers.scores.tolist())
        if self._view != common_pb2.NAME_VIEW_ROW:
            ids = self._names.ids.take(answers.rows)
            target.ids.extend(ids)
            if self._view != common_pb2.NAME_VIEW_ID:
                same = self._names.labels is self._names.ids
                target.labels.extend(ids if same else self._names.labels.take(answers.rows))
        for name, values in numbers.items():
            getattr(target, name).extend(values.tolist())
        if answers.known is not None:
            target.known.extend(answers.known.tolist())

    def finish(
        self, known_facts: common_pb2.KnownFacts, call: Call, self_loops: Mask | None = None
    ) -> bytes:
        """The response, serialised.

        Args:
            known_facts: what was done about known facts.
            call: whose id errors name.
            self_loops: [B], whether a self-loop was left out, of the queries that did not fail.
        """
        counts, exact, fetched, shortfalls = self._columns()
        response, target, resolved = self._response, self._response.answers, self._resolved
        response.model.name, response.model.version = self._model.name, self._model.version
        target.codes.extend(codes_of(resolved))
        target.offsets.extend([0, *np.cumsum(counts).tolist()])
        target.exact.extend(exact.tolist())
        target.fetched.extend(fetched.tolist())
        target.shortfalls.extend(shortfalls.tolist())
        target.known_facts = known_facts
        if self_loops is not None:
            loops = self_loops
            if resolved.errors:
                loops = spread(self_loops, resolved.valid, resolved.size)
            target.self_loops_excluded.extend(loops.tolist())
        if resolved.errors:
            target.errors.extend(pack_errors(resolved, call.id))
        last: bytes = response.SerializeToString()
        return b"".join([*self._parts, last]) if self._parts else last

    def _columns(self) -> tuple[NDArray[Any], ...]:
        """Counts, exact, fetched and shortfalls of the whole batch, [B] each."""
        if len(self._chunks) == 1:
            columns = self._chunks[0]
        elif self._chunks:
            columns = tuple(np.concatenate(parts) for parts in zip(*self._chunks, strict=True))
        else:
            columns = (np.zeros(0, np.int64), np.zeros(0, bool), *[np.zeros(0, np.int64)] * 2)
        if not self._resolved.errors:
            return columns
        valid, size = self._resolved.valid, self._resolved.size
        return tuple(spread(column, valid, size) for column in columns)


def _shortfalls(answers: Results, k: int) -> NDArray[Any]:
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


def version_of(model: Model) -> common_pb2.ModelVersion:
    """Which model answers."""
    return common_pb2.ModelVersion(name=model.name, version=model.version)


def known_facts(engine: Engine, excluded: bool) -> common_pb2.KnownFacts:
    """What was done about known facts."""
    if engine.amendments.known is None:
        return common_pb2.KNOWN_FACTS_UNAVAILABLE
    return common_pb2.KNOWN_FACTS_EXCLUDED if excluded else common_pb2.KNOWN_FACTS_MARKED

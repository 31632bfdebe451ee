"""Ranked answers of a server, as numpy arrays.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from mulde.client.failures import error_of
from mulde.errors import MuldeError
from mulde.typing import Float64, Mask, Rows
from mulde.v1 import common_pb2, prediction_pb2


@dataclass(frozen=True)
class Answer:
    """One ranked answer.

    Attributes:
        id: "" where the view left ids out.
        label: "" where the view left labels out.
        score: of the scorer alone; higher is better.
        prior: relation prior; answers are ranked by score + prior. None: by the score.
        probability: chance that it is a held-out fact of the query; None without calibration.
        plausibility: chance that the triple is true; None unless asked for.
        known: whether it is a known fact; None where known facts were left out or not told.
        row: of the vocabulary of the model version that answered.
    """

    id: str
    label: str
    score: float
    prior: float | None
    probability: float | None
    plausibility: float | None
    known: bool | None
    row: int


@dataclass(frozen=True)
class PlacedEntity:
    """An entity that the model does not know, placed by the context of a request.

    Attributes:
        name: that the request uses.
        method: "fitted" or "query_mean".
        facts: that it was placed by.
    """

    name: str
    method: str
    facts: int

    @classmethod
    def of(cls, placements: Iterable[prediction_pb2.Placement]) -> list[PlacedEntity]:
        """Those of a response."""
        names = {value: name for name, value in prediction_pb2.PlacementMethod.items()}
        methods = {value: name[len("PLACEMENT_METHOD_") :].lower() for value, name in names.items()}
        return [cls(p.entity, methods[p.method], p.facts) for p in placements]


@dataclass(frozen=True)
class Answers(Sequence[list[Answer]]):
    """Ranked answers to a batch; ``answers[i]`` are those to query i.

    Attributes:
        model: "name/version" that answered.
        offsets: int64 [B + 1]; query i's answers are ``offsets[i]`` to ``offsets[i + 1]``.
        rows: int64 [A].
        ids: A strings; empty where the view left them out.
        labels: A strings, likewise.
        scores: [A].
        probabilities: [A]; None where the model has no calibration.
        plausibilities: [A]; None unless asked for, or where the model has no calibration.
        priors: [A], relation priors; answers are ranked by score + prior. None: by the score.
        known: bool [A]; None where not told.
        known_facts: what was done about known facts: "excluded", "marked", "unavailable" or "".
        exact: bool [B], whether the answers are certainly those of exhaustive scoring.
        fetched: int64 [B], candidates that were scored in full.
        shortfalls: B strings: why there are fewer than k: "candidates", "threshold" or "".
        errors: query -> why it failed.
        placed: entities that the request's context placed.
    """

    model: str
    offsets: Rows
    rows: Rows
    ids: list[str]
    labels: list[str]
    scores: Float64
    probabilities: Float64 | None
    plausibilities: Float64 | None
    priors: Float64 | None
    known: Mask | None
    known_facts: str
    exact: Mask
    fetched: Rows
    shortfalls: list[str]
    errors: dict[int, MuldeError]
    placed: list[PlacedEntity]

    @classmethod
    def of(
        cls,
        model: common_pb2.ModelVersion,
        message: common_pb2.Answers,
        placements: Iterable[prediction_pb2.Placement] = (),
    ) -> Answers:
        """Unpack a response."""
        marked = message.known_facts == common_pb2.KNOWN_FACTS_MARKED
        rows = np.array(message.rows, dtype=np.int64)
        return cls(
            model=f"{model.name}/{model.version}",
            offsets=np.array(message.offsets, dtype=np.int64),
            rows=rows,
            ids=list(message.ids),
            labels=list(message.labels),
            scores=np.array(message.scores),
            probabilities=floats_or_none(message.probabilities),
            plausibilities=floats_or_none(message.plausibilities),
            priors=floats_or_none(message.priors),
            known=np.array(message.known, dtype=bool) if marked else None,
            known_facts=_word(common_pb2.KnownFacts.Name(message.known_facts)),
            exact=np.array(message.exact, dtype=bool),
            fetched=np.array(message.fetched, dtype=np.int64),
            shortfalls=[_word(common_pb2.Shortfall.Name(value)) for value in message.shortfalls],
            errors={error.query: error_of(error.status) for error in message.errors},
            placed=PlacedEntity.of(placements),
        )

    def __len__(self) -> int:
        """B."""
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, query: int) -> list[Answer]: ...
    @overload
    def __getitem__(self, query: slice) -> list[list[Answer]]: ...
    def __getitem__(self, query: int | slice) -> list[Answer] | list[list[Answer]]:
        """Answers to one query, best first.

        Raises:
            MuldeError: if that query failed: why.
        """
        if isinstance(query, slice):
            return [self[one] for one in range(*query.indices(len(self)))]
        place = range(len(self))[query]
        if place in self.errors:
            raise self.errors[place]
        return [self._answer(i) for i in range(self.offsets[place], self.offsets[place + 1])]

    def _answer(self, place: int) -> Answer:
        return Answer(
            self.ids[place] if self.ids else "",
            self.labels[place] if self.labels else "",
            float(self.scores[place]),
            None if self.priors is None else float(self.priors[place]),
            None if self.probabilities is None else float(self.probabilities[place]),
            None if self.plausibilities is None else float(self.plausibilities[place]),
            None if self.known is None else bool(self.known[place]),
            int(self.rows[place]),
        )


def floats_or_none(values: Sequence[float]) -> Float64 | None:
    """An array of what a field has; None where it is empty."""
    return np.array(values) if values else None


def _word(name: str) -> str:
    """The last word of an enum's value, in lower case; nothing where it is unspecified."""
    word = name.rpartition("_")[2].lower()
    return "" if word == "unspecified" else word

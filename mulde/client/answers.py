"""What a server answered, as numpy arrays.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from mulde.client.failures import error_of
from mulde.errors import MuldeError
from mulde.typing import Float64, Mask, Rows
from mulde.v1 import common_pb2, facts_pb2, model_pb2, prediction_pb2, vocabulary_pb2


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
            probabilities=_floats(message.probabilities),
            plausibilities=_floats(message.plausibilities),
            priors=_floats(message.priors),
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


@dataclass(frozen=True)
class Scores:
    """Scores of a batch of triples.

    Attributes:
        model: "name/version" that answered.
        scores: [B], mean of both directions.
        tail_scores: [B], of the tail as an answer, by the scorer alone.
        head_scores: [B], of the head as an answer.
        plausibilities: [B], chance that the triple is true rather than corrupted, at the base rate;
            None where the model has no calibration.
        known: bool [B]; None where the model has no known facts.
        tail_ranks: [B], filtered, from 1; None unless asked for.
        head_ranks: [B], likewise.
        self_loops: bool [B], head and tail are one entity of a relation without self-loops.
        errors: triple -> why it failed; its numbers are 0.
        placed: entities that the request's context placed.
    """

    model: str
    scores: Float64
    tail_scores: Float64
    head_scores: Float64
    plausibilities: Float64 | None
    known: Mask | None
    tail_ranks: Float64 | None
    head_ranks: Float64 | None
    self_loops: Mask
    errors: dict[int, MuldeError]
    placed: list[PlacedEntity]

    @classmethod
    def of(cls, message: prediction_pb2.ScoreTriplesResponse) -> Scores:
        """Unpack a response."""
        return cls(
            model=f"{message.model.name}/{message.model.version}",
            scores=np.array(message.scores),
            tail_scores=np.array(message.tail_scores),
            head_scores=np.array(message.head_scores),
            plausibilities=_floats(message.plausibilities),
            known=np.array(message.known, dtype=bool) if message.known else None,
            tail_ranks=_floats(message.tail_ranks),
            head_ranks=_floats(message.head_ranks),
            self_loops=np.array(message.self_loops, dtype=bool),
            errors={error.query: error_of(error.status) for error in message.errors},
            placed=PlacedEntity.of(message.placements),
        )

    def __len__(self) -> int:
        """B."""
        return len(self.scores)


@dataclass(frozen=True)
class Found:
    """Entities found for a batch of searches; ``found[i]`` are (id, label) of search i."""

    model: str
    offsets: Rows
    rows: Rows
    ids: list[str]
    labels: list[str]
    next_page_token: str
    errors: dict[int, MuldeError]

    @classmethod
    def of(cls, message: vocabulary_pb2.SearchEntitiesResponse) -> Found:
        """Unpack a response."""
        return cls(
            f"{message.model.name}/{message.model.version}",
            np.array(message.offsets, dtype=np.int64),
            np.array(message.rows, dtype=np.int64),
            list(message.ids),
            list(message.labels),
            message.next_page_token,
            {error.query: error_of(error.status) for error in message.errors},
        )

    def __len__(self) -> int:
        """How many searches."""
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> list[tuple[str, str]]:
        """(id, label) of what was found, best first.

        Raises:
            MuldeError: if that search failed: why.
        """
        place = range(len(self))[query]
        if place in self.errors:
            raise self.errors[place]
        part = slice(self.offsets[place], self.offsets[place + 1])
        return list(zip(self.ids[part], self.labels[part], strict=True))


@dataclass(frozen=True)
class Relations:
    """Relations of a model; iterates over (id, label)."""

    model: str
    ids: list[str]
    labels: list[str]

    def __len__(self) -> int:
        """R."""
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(id, label) by ascending id."""
        return iter(zip(self.ids, self.labels, strict=True))


@dataclass(frozen=True)
class ChangedFact:
    """A fact that was added or removed after the training.

    Attributes:
        head, relation, tail: ids.
        removed: whether it was removed; else it was added.
        time_s: when, in seconds since 1970.
    """

    head: str
    relation: str
    tail: str
    removed: bool
    time_s: float

    @classmethod
    def of(cls, page: facts_pb2.ListChangedFactsResponse) -> list[ChangedFact]:
        """The changes of a page."""
        facts = page.facts
        columns = facts.heads, facts.relations, facts.tails, page.removed, page.times_s
        return [cls(*values) for values in zip(*columns, strict=True)]


Models = list[model_pb2.Model]


def _floats(values: Sequence[float]) -> Float64 | None:
    return np.array(values) if values else None


def _word(name: str) -> str:
    """The last word of an enum's value, in lower case; nothing where it is unspecified."""
    word = name.rpartition("_")[2].lower()
    return "" if word == "unspecified" else word

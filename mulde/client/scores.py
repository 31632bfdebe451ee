"""Scores of triples by a server, as numpy arrays. B: triples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.client.answers import PlacedEntity, floats_or_none
from mulde.client.failures import error_of
from mulde.errors import MuldeError
from mulde.typing import Float64, Mask
from mulde.v1 import prediction_pb2


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
            plausibilities=floats_or_none(message.plausibilities),
            known=np.array(message.known, dtype=bool) if message.known else None,
            tail_ranks=floats_or_none(message.tail_ranks),
            head_ranks=floats_or_none(message.head_ranks),
            self_loops=np.array(message.self_loops, dtype=bool),
            errors={error.query: error_of(error.status) for error in message.errors},
            placed=PlacedEntity.of(message.placements),
        )

    def __len__(self) -> int:
        """B."""
        return len(self.scores)

"""Questions of every kind, and what a server answers that is asked one of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from mulde.v1 import common_pb2, model_pb2, prediction_pb2, vocabulary_pb2

SIZES = (1, 2, 7, 64)
"""Queries in a call."""
ENTITIES, RELATIONS = 1100, 4
"""That every version has; each has some of its own beyond."""
_SERVICES = {
    service.name: service
    for file in (prediction_pb2, vocabulary_pb2, model_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
}


@dataclass(frozen=True)
class Question:
    """A call, ready to be sent.

    Attributes:
        path: "/package.Service/Method".
        request: serialised.
        kind: class of the response.
    """

    path: str
    request: bytes
    kind: type[Message]

    def read(self, response: bytes) -> tuple[str, bytes]:
        """The version that a response names, and all else in it but how it was found.

        How many candidates were fetched may depend on who shares the run; nothing else may.
        """
        message: Any = self.kind.FromString(response)
        if self.kind is model_pb2.ListModelsResponse:  # two are loaded while one takes over
            (message,) = [model for model in message.models if model.current]
            return message.version, message.SerializeToString(deterministic=True)
        if "answers" in message.DESCRIPTOR.fields_by_name:
            message.answers.ClearField("fetched")
        return message.model.version, message.SerializeToString(deterministic=True)


def question(service: str, method: str, **fields: Any) -> Question:
    """One of a method, with the fields of its request."""
    described = _SERVICES[service].methods_by_name[method]
    request = GetMessageClass(described.input_type)(**fields)
    path = f"/{_SERVICES[service].full_name}/{method}"
    return Question(path, request.SerializeToString(), GetMessageClass(described.output_type))


def questions(random: np.random.Generator, each: int) -> list[Question]:
    """``each`` of every method that answers from a model, of every size."""
    made = [question("VocabularyService", "ListRelations", page_size=size) for size in (1, 3, 100)]
    made += [question("ModelService", method) for method in ("GetModel", "ListModels")] * each
    for size in SIZES:
        for _ in range(each):
            made += _predictions(random, size) + _others(random, size)
    return made


def _predictions(random: np.random.Generator, size: int) -> list[Question]:
    options = prediction_pb2.PredictOptions(
        k=int(random.choice([1, 10, 50])),
        exclude_known=bool(random.integers(2)),
        exact=bool(random.integers(2)),
        view=common_pb2.NameView.Name(int(random.integers(4))),
    )
    fields: dict[str, Any] = {"relations": _relations(random, size), "options": options}
    if random.random() < 0.3:
        fields["filter"] = common_pb2.CandidateFilter(allow={"names": _entities(random, 40)[1:]})
    service = "LinkPredictionService"
    return [
        question(service, "PredictTails", heads=_entities(random, size), **fields),
        question(service, "PredictHeads", tails=_entities(random, size), **fields),
    ]


def _others(random: np.random.Generator, size: int) -> list[Question]:
    service = "LinkPredictionService"
    heads, tails, relations = _entities(random, size), _entities(random, size), []
    relations = _relations(random, size)
    triples = {"heads": heads, "relations": relations, "tails": tails}
    starts = [f"thing {random.integers(ENTITIES)}"[: random.integers(3, 9)] for _ in range(size)]
    return [
        question(service, "PredictRelations", heads=heads, tails=tails),
        question(service, "ScoreTriples", **triples, ranks=bool(random.integers(2))),
        question(service, "SimilarEntities", entities=heads, k=int(random.integers(1, 30))),
        question("VocabularyService", "SearchEntities", queries=starts, page_size=5),
    ]


def _entities(random: np.random.Generator, size: int) -> list[str]:
    """Ids; now and then one that no version has."""
    names = [f"Q{row:07d}" for row in random.integers(ENTITIES, size=size)]
    if random.random() < 0.2:
        names[0] = "Nobody"
    return names


def _relations(random: np.random.Generator, size: int) -> list[str]:
    return [f"P{row}" for row in random.integers(RELATIONS, size=size)]


def answers(address: str, asked: Sequence[Question]) -> tuple[str, list[bytes]]:
    """The version that a server has, and its answers, one call after another.

    Raises:
        AssertionError: if they are not all of one version.
    """
    with grpc.insecure_channel(address) as channel:
        method = cache(channel.unary_unary)
        read = [one.read(method(one.path)(one.request, timeout=600)) for one in asked]
    (version,) = {version for version, _ in read}
    return version, [answer for _, answer in read]

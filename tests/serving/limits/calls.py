"""Calls with few fields, each accepted as it is, and a server with small limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from mulde.v1 import (
    common_pb2,
    model_pb2,
    model_pb2_grpc,
    prediction_pb2,
    prediction_pb2_grpc,
    vocabulary_pb2,
    vocabulary_pb2_grpc,
)

E, R = 60, 3
LIMITS = {
    "MULDE_LIMITS__MAX_BATCH_SIZE": "8",
    "MULDE_LIMITS__MAX_K": "50",
    "MULDE_LIMITS__MAX_NAME_BYTES": "32",
    "MULDE_LIMITS__MAX_FILTER_NAMES": "5",
    "MULDE_LIMITS__MAX_MESSAGE_BYTES": "8192",
}
NAN, INFINITY = float("nan"), float("inf")

Send = Callable[..., Any]
Options = prediction_pb2.PredictOptions
Filter = common_pb2.CandidateFilter


def tails(channel: grpc.Channel, count: int = 1, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    fields = {"heads": ["Q0000001"] * count, "relations": ["P0"] * count, **fields}
    return stub.PredictTails(prediction_pb2.PredictTailsRequest(**fields))


def heads(channel: grpc.Channel, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    fields = {"tails": ["Q0000001"], "relations": ["P0"], **fields}
    return stub.PredictHeads(prediction_pb2.PredictHeadsRequest(**fields))


def relations(channel: grpc.Channel, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    fields = {"heads": ["Q0000001"], "tails": ["Q0000002"], **fields}
    return stub.PredictRelations(prediction_pb2.PredictRelationsRequest(**fields))


def score(channel: grpc.Channel, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    fields = {"heads": ["Q0000001"], "relations": ["P0"], "tails": ["Q0000002"], **fields}
    return stub.ScoreTriples(prediction_pb2.ScoreTriplesRequest(**fields))


def similar(channel: grpc.Channel, **fields: Any) -> Any:
    stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
    return stub.SimilarEntities(
        prediction_pb2.SimilarEntitiesRequest(**{"entities": ["Q0000001"], **fields})
    )


def search(channel: grpc.Channel, **fields: Any) -> Any:
    stub = vocabulary_pb2_grpc.VocabularyServiceStub(channel)
    return stub.SearchEntities(
        vocabulary_pb2.SearchEntitiesRequest(**{"queries": ["thing"], **fields})
    )


def list_relations(channel: grpc.Channel, **fields: Any) -> Any:
    stub = vocabulary_pb2_grpc.VocabularyServiceStub(channel)
    return stub.ListRelations(vocabulary_pb2.ListRelationsRequest(**fields))


def list_models(channel: grpc.Channel, **fields: Any) -> Any:
    stub = model_pb2_grpc.ModelServiceStub(channel)
    return stub.ListModels(model_pb2.ListModelsRequest(**fields))


def get_model(channel: grpc.Channel, **fields: Any) -> Any:
    stub = model_pb2_grpc.ModelServiceStub(channel)
    return stub.GetModel(model_pb2.GetModelRequest(**fields))


def names(count: int) -> list[str]:
    return [f"Q{row:07d}" for row in range(count)]


def filter_of(part: str, listed: list[str]) -> common_pb2.CandidateFilter:
    """A filter with one of its lists filled."""
    return Filter(deny=listed) if part == "deny" else Filter(**{part: {"names": listed}})


PARTS: dict[Send, tuple[str, ...]] = {
    heads: ("tails", "relations"),
    relations: ("heads", "tails"),
    score: ("heads", "relations", "tails"),
    similar: ("entities",),
    search: ("queries",),
}
"""Calls besides PredictTails, and their parallel fields, the one that counts the batch first."""


def batch(send: Send, count: int) -> dict[str, Any]:
    """The fields of a call with so many queries."""
    return {part: [NAME_OF[part]] * count for part in PARTS[send]}


NAME_OF = {
    "heads": "Q0000001",
    "relations": "P0",
    "tails": "Q0000002",
    "entities": "Q0000003",
    "queries": "thing",
}

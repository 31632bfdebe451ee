"""All methods of the contract, and what runs each, in a server and in a client's process."""

from __future__ import annotations

from google.protobuf.descriptor import MethodDescriptor

from mulde.v1 import facts_pb2, model_pb2, prediction_pb2, vocabulary_pb2
from serving.registry.batcher import Batcher
from serving.registry.registry import Registry
from serving.rpc.admin import Administration, Changes
from serving.rpc.facts import FactChanges
from serving.rpc.handlers import Run
from serving.rpc.link_prediction import LinkPrediction
from serving.rpc.request import Limits
from serving.rpc.vocabulary import VocabularySearch

SERVICES = (
    prediction_pb2.DESCRIPTOR.services_by_name["LinkPredictionService"],
    vocabulary_pb2.DESCRIPTOR.services_by_name["VocabularyService"],
    model_pb2.DESCRIPTOR.services_by_name["ModelService"],
    facts_pb2.DESCRIPTOR.services_by_name["FactService"],
)


def reading_methods(
    registry: Registry, batcher: Batcher, limits: Limits
) -> dict[MethodDescriptor, Run]:
    """Methods that change nothing: predictions and the vocabulary."""
    return {
        **LinkPrediction(registry, batcher, limits).methods(),
        **VocabularySearch(registry, batcher, limits).methods(),
    }


def all_methods(
    registry: Registry, batcher: Batcher, limits: Limits, changes: Changes
) -> dict[MethodDescriptor, Run]:
    """Methods of every service.

    Args:
        registry: models that answer.
        batcher: forms batches of queries.
        limits: of requests.
        changes: changes what is loaded.
    """
    return {
        **reading_methods(registry, batcher, limits),
        **Administration(registry, changes, limits).methods(),
        **FactChanges(registry).methods(),
    }

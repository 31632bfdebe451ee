"""Requests, built once for both clients: which method, which message, how to read the response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mulde.client.answers import Answers
from mulde.client.explanations import Explanations
from mulde.client.keywords import (
    CandidateKeywords,
    ContextKeywords,
    ModelKeywords,
    Names,
    PredictionKeywords,
    RankingKeywords,
    TextKeywords,
    View,
    candidates,
    context,
    names,
    options,
    paired,
    selector,
    texts,
    view,
)
from mulde.client.listings import Found
from mulde.client.scores import Scores
from mulde.v1 import facts_pb2, model_pb2, prediction_pb2, vocabulary_pb2

T = TypeVar("T")

_PREDICTION = "/mulde.v1.LinkPredictionService/"
_VOCABULARY = "/mulde.v1.VocabularyService/"
_MODEL = "/mulde.v1.ModelService/"
_FACTS = "/mulde.v1.FactService/"
_PAGE = 1000


class ListPage(Protocol):
    """A response with a part of a list.

    Attributes:
        next_page_token: of the next part; empty after the last.
    """

    next_page_token: str


@dataclass(frozen=True)
class Request(Generic[T]):
    """One call to make.

    Attributes:
        method: full path.
        message: the request.
        response: class of the response.
        read: response -> what the client returns.
    """

    method: str
    message: Any
    response: Any
    read: Callable[[Any], T]


def tails(heads: Names, relations: Names, given: PredictionKeywords) -> Request[Answers]:
    """PredictTails."""
    asked = names(heads)
    message = prediction_pb2.PredictTailsRequest(
        model=selector(given),
        heads=asked,
        relations=paired(relations, asked),
        filter=candidates(given),
        options=options(given),
        context=context(given),
    )
    response = prediction_pb2.PredictTailsResponse
    return Request(_PREDICTION + "PredictTails", message, response, _answers)


def heads(relations: Names, tails: Names, given: PredictionKeywords) -> Request[Answers]:
    """PredictHeads."""
    asked = names(tails)
    message = prediction_pb2.PredictHeadsRequest(
        model=selector(given),
        relations=paired(relations, asked),
        tails=asked,
        filter=candidates(given),
        options=options(given),
        context=context(given),
    )
    response = prediction_pb2.PredictHeadsResponse
    return Request(_PREDICTION + "PredictHeads", message, response, _answers)


def relations(heads: Names, tails: Names, given: RankingKeywords) -> Request[Answers]:
    """PredictRelations."""
    asked = names(heads)
    message = prediction_pb2.PredictRelationsRequest(
        model=selector(given),
        heads=asked,
        tails=paired(tails, asked),
        options=options(given),
    )
    response = prediction_pb2.PredictRelationsResponse
    return Request(_PREDICTION + "PredictRelations", message, response, _answers)


def triples(
    heads: Names,
    relations: Names,
    tails: Names,
    ranks: bool,
    base_rate: float | None,
    given: ContextKeywords,
) -> Request[Scores]:
    """ScoreTriples."""
    asked = names(heads)
    message = prediction_pb2.ScoreTriplesRequest(
        model=selector(given),
        heads=asked,
        relations=paired(relations, asked),
        tails=paired(tails, asked),
        ranks=ranks,
        base_rate=base_rate,
        context=context(given),
    )
    response = prediction_pb2.ScoreTriplesResponse
    return Request(_PREDICTION + "ScoreTriples", message, response, Scores.of)


def explain(
    heads: Names,
    relations: Names,
    tails: Names,
    given: ModelKeywords,
    **most: int | None,
) -> Request[Explanations]:
    """Explain; ``most`` of "paths", "similar" and "supporting"."""
    asked = names(heads)
    message = prediction_pb2.ExplainRequest(
        model=selector(given),
        heads=asked,
        relations=paired(relations, asked),
        tails=paired(tails, asked),
        **most,
    )
    response = prediction_pb2.ExplainResponse
    return Request(_PREDICTION + "Explain", message, response, Explanations.of)


def similar(
    entities: Names, k: int | None, wanted: View, given: CandidateKeywords
) -> Request[Answers]:
    """SimilarEntities."""
    message = prediction_pb2.SimilarEntitiesRequest(
        model=selector(given),
        entities=names(entities),
        filter=candidates(given),
        k=k,
        view=view(wanted),
    )
    response = prediction_pb2.SimilarEntitiesResponse
    return Request(_PREDICTION + "SimilarEntities", message, response, _answers)


def search(queries: Names, page_size: int, page_token: str, given: ModelKeywords) -> Request[Found]:
    """SearchEntities."""
    message = vocabulary_pb2.SearchEntitiesRequest(
        model=selector(given),
        queries=names(queries),
        page_size=page_size,
        page_token=page_token,
    )
    response = vocabulary_pb2.SearchEntitiesResponse
    return Request(_VOCABULARY + "SearchEntities", message, response, Found.of)


def get_entity(name: str, given: ModelKeywords) -> Request[vocabulary_pb2.GetEntityResponse]:
    """GetEntity."""
    message = vocabulary_pb2.GetEntityRequest(model=selector(given), entity=name)
    response = vocabulary_pb2.GetEntityResponse
    return Request(_VOCABULARY + "GetEntity", message, response, _same)


def list_relations(
    page_token: str, given: ModelKeywords
) -> Request[vocabulary_pb2.ListRelationsResponse]:
    """ListRelations, one page."""
    message = vocabulary_pb2.ListRelationsRequest(
        model=selector(given), page_size=_PAGE, page_token=page_token
    )
    response = vocabulary_pb2.ListRelationsResponse
    return Request(_VOCABULARY + "ListRelations", message, response, _same)


def add_facts(
    heads: Names, relations: Names, tails: Names, new_entities: bool, given: TextKeywords
) -> Request[facts_pb2.AddFactsResponse]:
    """AddFacts."""
    message = facts_pb2.AddFactsRequest(
        model=selector(given),
        facts=_batch(heads, relations, tails),
        new_entities=new_entities,
        entities=texts(given),
    )
    return Request(_FACTS + "AddFacts", message, facts_pb2.AddFactsResponse, _same)


def remove_facts(
    heads: Names, relations: Names, tails: Names, given: ModelKeywords
) -> Request[facts_pb2.RemoveFactsResponse]:
    """RemoveFacts."""
    message = facts_pb2.RemoveFactsRequest(
        model=selector(given), facts=_batch(heads, relations, tails)
    )
    return Request(_FACTS + "RemoveFacts", message, facts_pb2.RemoveFactsResponse, _same)


def changed_facts(
    page_token: str, given: ModelKeywords
) -> Request[facts_pb2.ListChangedFactsResponse]:
    """ListChangedFacts, one page."""
    message = facts_pb2.ListChangedFactsRequest(model=selector(given), page_token=page_token)
    return Request(_FACTS + "ListChangedFacts", message, facts_pb2.ListChangedFactsResponse, _same)


def _batch(heads: Names, relations: Names, tails: Names) -> facts_pb2.FactBatch:
    asked = names(heads)
    return facts_pb2.FactBatch(
        heads=asked, relations=paired(relations, asked), tails=paired(tails, asked)
    )


def list_models(page_token: str) -> Request[model_pb2.ListModelsResponse]:
    """ListModels, one page."""
    message = model_pb2.ListModelsRequest(page_size=_PAGE, page_token=page_token)
    return Request(_MODEL + "ListModels", message, model_pb2.ListModelsResponse, _same)


def get_model(given: ModelKeywords) -> Request[model_pb2.GetModelResponse]:
    """GetModel."""
    message = model_pb2.GetModelRequest(model=selector(given))
    return Request(_MODEL + "GetModel", message, model_pb2.GetModelResponse, _same)


def load(name: str, version: str, pin: bool) -> Request[model_pb2.Model]:
    """LoadModel."""
    message = model_pb2.LoadModelRequest(name=name, version=version, pin=pin)
    return Request(_MODEL + "LoadModel", message, model_pb2.LoadModelResponse, _model)


def reload(name: str) -> Request[model_pb2.ReloadModelResponse]:
    """ReloadModel."""
    message = model_pb2.ReloadModelRequest(name=name)
    return Request(_MODEL + "ReloadModel", message, model_pb2.ReloadModelResponse, _same)


def unload(name: str, version: str) -> Request[list[str]]:
    """UnloadModel."""
    message = model_pb2.UnloadModelRequest(name=name, version=version)
    return Request(_MODEL + "UnloadModel", message, model_pb2.UnloadModelResponse, _unloaded)


def _answers(response: Any) -> Answers:
    return Answers.of(response.model, response.answers, getattr(response, "placements", ()))


def _same(response: T) -> T:
    return response


def _model(response: model_pb2.LoadModelResponse) -> model_pb2.Model:
    return response.model


def _unloaded(response: model_pb2.UnloadModelResponse) -> list[str]:
    return [f"{one.name}/{one.version}" for one in response.unloaded]

"""LinkPredictionService: convert, ask the engine, convert."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

import numpy as np
from google.protobuf.descriptor import MethodDescriptor
from numpy.typing import NDArray

from mulde.v1 import common_pb2, prediction_pb2
from serving.engine.answers import Answers
from serving.engine.exclusions import Rows
from serving.engine.scoring import Array
from serving.registry.batch_request import Ask
from serving.registry.entity_resolver import Resolved
from serving.registry.limits import Limits, check_same_length
from serving.registry.model import Curve, Model
from serving.rpc.handlers import Call, Run
from serving.rpc.request_options import Options, read_filter, read_k, read_options, read_view
from serving.rpc.response_builder import codes_of, pack_answers, pack_errors, spread


class Models(Protocol):
    """Where loaded models are found."""

    def get(self, selector: common_pb2.ModelSelector) -> Model:
        """The model that a request means.

        Raises:
            UnknownModel: if no such model is loaded.
        """


class LinkPrediction:
    """The calls of LinkPredictionService."""

    def __init__(self, models: Models, limits: Limits) -> None:
        """Answer from ``models`` within ``limits``."""
        self._models, self._limits = models, limits

    def methods(self) -> dict[MethodDescriptor, Run]:
        """What runs each method."""
        service = prediction_pb2.DESCRIPTOR.services_by_name["LinkPredictionService"]
        runs: dict[str, Run] = {
            "PredictTails": self.predict_tails,
            "PredictHeads": self.predict_heads,
            "PredictRelations": self.predict_relations,
            "ScoreTriples": self.score_triples,
            "SimilarEntities": self.similar_entities,
        }
        return {method: runs[method.name] for method in service.methods}

    def predict_tails(
        self, request: prediction_pb2.PredictTailsRequest, call: Call
    ) -> prediction_pb2.PredictTailsResponse:
        """(head, relation, ?)."""
        response = prediction_pb2.PredictTailsResponse()
        self._predict(request, "heads", response, call, reciprocal=False)
        return response

    def predict_heads(
        self, request: prediction_pb2.PredictHeadsRequest, call: Call
    ) -> prediction_pb2.PredictHeadsResponse:
        """(?, relation, tail)."""
        response = prediction_pb2.PredictHeadsResponse()
        self._predict(request, "tails", response, call, reciprocal=True)
        return response

    def _predict(
        self,
        request: prediction_pb2.PredictTailsRequest | prediction_pb2.PredictHeadsRequest,
        field: str,
        response: prediction_pb2.PredictTailsResponse | prediction_pb2.PredictHeadsResponse,
        call: Call,
        *,
        reciprocal: bool,
    ) -> None:
        model = self._pick(request.model, call)
        names, relation_names = getattr(request, field), request.relations
        self._limits.check_batch(field, names)
        check_same_length("relations", relation_names, field, names)
        options = read_options(request.options, self._limits, model.engine.num_entities, model)
        allow, deny = read_filter(request.filter, self._limits, model)
        resolved = Resolved(len(names))
        entities = model.namer.entities(field, names, resolved)
        relations = model.namer.relations("relations", relation_names, resolved)
        if reciprocal:
            relations += model.engine.num_relations
        if resolved.errors:
            valid = resolved.valid
            entities, relations = entities[valid], relations[valid]
        ask = Ask(
            entities,
            relations,
            options.k,
            options.exclude_known,
            options.exact,
            allow,
            deny,
            monotonic(),
        )
        answers = self._ask(model, ask, call)
        curves = model.probabilities
        probabilities = None if curves is None else curves[reciprocal](answers.scores)
        answers, probabilities = apply_thresholds(answers, probabilities, options)
        name_model(response.model, model)
        pack_answers(
            response.answers,
            answers,
            resolved,
            options.k,
            model.entities,
            options.view,
            probabilities=probabilities,
            known_facts=known_facts(model, options.exclude_known),
            request_id=call.id,
        )

    def _ask(self, model: Model, ask: Ask, call: Call) -> Answers:
        call.queries = len(ask)
        if not len(ask):
            return Answers.nothing()
        reply = model.batcher.submit(
            ask, key=ask.key, size=len(ask), deadline=call.deadline, wanted=call.is_wanted
        )
        call.seconds = {"queue": reply.queue_s, **reply.answers.seconds}
        return reply.answers

    def _pick(self, selector: common_pb2.ModelSelector, call: Call) -> Model:
        model = self._models.get(selector)
        call.model = str(model)
        return model

    def predict_relations(
        self, request: prediction_pb2.PredictRelationsRequest, call: Call
    ) -> prediction_pb2.PredictRelationsResponse:
        """(head, ?, tail)."""
        model = self._pick(request.model, call)
        self._limits.check_batch("heads", request.heads)
        check_same_length("tails", request.tails, "heads", request.heads)
        options = read_options(request.options, self._limits, model.engine.num_relations, model)
        resolved = Resolved(len(request.heads))
        heads = model.namer.entities("heads", request.heads, resolved)
        tails = model.namer.entities("tails", request.tails, resolved)
        valid = resolved.valid
        call.queries = len(valid)
        answers = Answers.nothing()
        if len(valid):
            answers = model.engine.relations(
                heads[valid], tails[valid], options.k, exclude_known=options.exclude_known
            )
        owners = valid[answers.owners]
        rows = answers.rows.astype(np.int64)
        probabilities = self._triple_probabilities(model, heads[owners], rows, tails[owners])
        answers, probabilities = apply_thresholds(answers, probabilities, options)
        response = prediction_pb2.PredictRelationsResponse(model=version_of(model))
        pack_answers(
            response.answers,
            answers,
            resolved,
            options.k,
            model.relations,
            options.view,
            probabilities=probabilities,
            known_facts=known_facts(model, options.exclude_known),
            request_id=call.id,
        )
        return response

    def _triple_probabilities(
        self, model: Model, heads: Rows, relations: Rows, tails: Rows
    ) -> Array | None:
        if model.probabilities is None or not len(heads):
            return None
        tail_scores, head_scores = model.engine.triple_scores(heads, relations, tails)
        return triple_probabilities(model.probabilities, tail_scores, head_scores)

    def score_triples(
        self, request: prediction_pb2.ScoreTriplesRequest, call: Call
    ) -> prediction_pb2.ScoreTriplesResponse:
        """How plausible each triple is."""
        model = self._pick(request.model, call)
        self._limits.check_batch("heads", request.heads)
        for field in ("relations", "tails"):
            check_same_length(field, getattr(request, field), "heads", request.heads)
        resolved = Resolved(len(request.heads))
        rows = (
            model.namer.entities("heads", request.heads, resolved),
            model.namer.relations("relations", request.relations, resolved),
            model.namer.entities("tails", request.tails, resolved),
        )
        valid = resolved.valid
        call.queries = len(valid)
        response = prediction_pb2.ScoreTriplesResponse(
            model=version_of(model),
            codes=codes_of(resolved),
            errors=pack_errors(resolved, call.id),
            known_facts=known_facts(model, excluded=False),
        )
        triples = tuple(column[valid] for column in rows)
        columns = {}
        if len(valid):
            columns = score_columns(model, triples, ranks=request.ranks, going_on=call.check)
        for name, column in columns.items():
            getattr(response, name).extend(spread(column, valid, resolved.size).tolist())
        return response

    def similar_entities(
        self, request: prediction_pb2.SimilarEntitiesRequest, call: Call
    ) -> prediction_pb2.SimilarEntitiesResponse:
        """The nearest entities."""
        model = self._pick(request.model, call)
        self._limits.check_batch("entities", request.entities)
        others = max(1, model.engine.num_entities - 1)
        k = read_k("k", request.k if request.HasField("k") else None, self._limits, others)
        view = read_view("view", request.view)
        allow, deny = read_filter(request.filter, self._limits, model)
        resolved = Resolved(len(request.entities))
        entities = model.namer.entities("entities", request.entities, resolved)
        valid = resolved.valid
        call.queries = len(valid)
        answers = Answers.nothing()
        if len(valid):
            answers = model.engine.similar(entities[valid], k, allow=allow, deny=deny)
        response = prediction_pb2.SimilarEntitiesResponse(model=version_of(model))
        names, target = model.entities, response.answers
        pack_answers(target, answers, resolved, k, names, view, request_id=call.id)
        return response


def name_model(target: common_pb2.ModelVersion, model: Model) -> None:
    """Say in a response which model answers."""
    target.name, target.version = model.name, model.version


def version_of(model: Model) -> common_pb2.ModelVersion:
    """Which model answers."""
    return common_pb2.ModelVersion(name=model.name, version=model.version)


def known_facts(model: Model, excluded: bool) -> common_pb2.KnownFacts:
    """What was done about known facts."""
    if model.bundle.known is None:
        return common_pb2.KNOWN_FACTS_UNAVAILABLE
    return common_pb2.KNOWN_FACTS_EXCLUDED if excluded else common_pb2.KNOWN_FACTS_MARKED


def apply_thresholds(
    answers: Answers, probabilities: Array | None, options: Options
) -> tuple[Answers, Array | None]:
    """Answers, and their probabilities [A], that reach the thresholds."""
    if options.score_threshold is None and options.probability_threshold is None:
        return answers, probabilities
    kept = np.ones(len(answers.rows), dtype=bool)
    if options.score_threshold is not None:
        kept &= answers.scores >= options.score_threshold
    if options.probability_threshold is not None and probabilities is not None:
        kept &= probabilities >= options.probability_threshold
    if kept.all():
        return answers, probabilities
    return answers.where(kept), None if probabilities is None else probabilities[kept]


def triple_probabilities(
    curves: tuple[Curve, Curve], tail_scores: Array, head_scores: Array
) -> Array:
    """Mean of both directions' probabilities, [B]."""
    return (curves[0](tail_scores) + curves[1](head_scores)) / 2


def score_columns(
    model: Model, triples: tuple[Rows, ...], *, ranks: bool, going_on: Callable[[], None]
) -> dict[str, NDArray[np.generic]]:
    """The arrays of ScoreTriplesResponse, [B] each, for triples that exist."""
    heads, relations, tails = triples
    engine, bundle = model.engine, model.bundle
    tail_scores, head_scores = engine.triple_scores(heads, relations, tails)
    columns: dict[str, NDArray[np.generic]] = {
        "scores": (tail_scores + head_scores) / 2,
        "tail_scores": tail_scores,
        "head_scores": head_scores,
    }
    if model.probabilities is not None:
        probabilities = triple_probabilities(model.probabilities, tail_scores, head_scores)
        columns["probabilities"] = probabilities
    if bundle.known is not None:
        columns["known"] = bundle.known.contains(heads, relations, tails)
    if ranks:
        back = relations + engine.num_relations
        columns["tail_ranks"] = engine.ranks(heads, relations, tails, going_on=going_on)
        columns["head_ranks"] = engine.ranks(tails, back, heads, going_on=going_on)
    return columns

"""LinkPredictionService: read the request, run the engine in chunks, build the response.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from time import perf_counter
from typing import Any, Protocol, TypeVar

import numpy as np
from google.protobuf.descriptor import MethodDescriptor
from numpy.typing import NDArray

from mulde.typing import Rows
from mulde.v1 import common_pb2, prediction_pb2
from serving.engine.engine import Engine
from serving.engine.plausibility import plausibilities
from serving.engine.results import Results
from serving.engine.retriever import Check, no_check
from serving.registry.batcher import Batcher
from serving.registry.entity_resolver import Resolved
from serving.registry.model import Model
from serving.rpc.context import read_context
from serving.rpc.explanation import explain_triples
from serving.rpc.handlers import Call, Run
from serving.rpc.request import (
    Limits,
    Options,
    check_same_length,
    read_base_rate,
    read_filter,
    read_k,
    read_options,
    read_view,
)
from serving.rpc.response import (
    AnswersBuilder,
    Numbers,
    codes_of,
    known_facts,
    pack_errors,
    spread,
    version_of,
)

Columns = dict[str, NDArray[Any]]
Part = tuple[Rows, ...]
R = TypeVar("R")


class Models(Protocol):
    """Where loaded models are found."""

    def get(self, selector: common_pb2.ModelSelector) -> Model:
        """The model that a request means.

        Raises:
            UnknownModel: if no such model is loaded.
        """


class LinkPrediction:
    """The calls of LinkPredictionService."""

    def __init__(self, models: Models, batcher: Batcher, limits: Limits) -> None:
        """Answer from ``models`` through ``batcher``, within ``limits``."""
        self._models, self._batcher, self._limits = models, batcher, limits

    def methods(self) -> dict[MethodDescriptor, Run]:
        """What runs each method."""
        service = prediction_pb2.DESCRIPTOR.services_by_name["LinkPredictionService"]
        runs: dict[str, Run] = {
            "PredictTails": self.predict_tails,
            "PredictHeads": self.predict_heads,
            "PredictRelations": self.predict_relations,
            "ScoreTriples": self.score_triples,
            "Explain": self.explain,
            "SimilarEntities": self.similar_entities,
        }
        return {method: runs[method.name] for method in service.methods}

    def predict_tails(self, request: prediction_pb2.PredictTailsRequest, call: Call) -> bytes:
        """(head, relation, ?)."""
        response = prediction_pb2.PredictTailsResponse()
        return self._predict(request, "heads", request.heads, response, call, reciprocal=False)

    def predict_heads(self, request: prediction_pb2.PredictHeadsRequest, call: Call) -> bytes:
        """(?, relation, tail)."""
        response = prediction_pb2.PredictHeadsResponse()
        return self._predict(request, "tails", request.tails, response, call, reciprocal=True)

    def _predict(
        self,
        request: prediction_pb2.PredictTailsRequest | prediction_pb2.PredictHeadsRequest,
        field: str,
        names: Sequence[str],
        response: Any,
        call: Call,
        *,
        reciprocal: bool,
    ) -> bytes:
        model = self._pick(request.model, call)
        self._limits.check_batch(field, names)
        check_same_length("relations", request.relations, field, names)
        context = read_context(model, request.context, call)
        engine = context.engine
        response.placements.extend(context.placements)
        options = read_options(request.options, self._limits, engine.num_entities, model)
        allow, deny = read_filter(request.filter, self._limits, model, call)
        resolved = Resolved(len(names))
        entities = context.entities(field, names, resolved)
        relations = model.resolver.relations("relations", request.relations, resolved)
        if reciprocal:
            relations = relations + engine.num_relations
        k, exclude_known, exact = options.k, options.exclude_known, options.exact

        def run(parts: Sequence[Part]) -> list[Results]:
            heads, kinds = _join(parts)
            answers = engine.predict(
                heads,
                kinds,
                k,
                exclude_known=exclude_known,
                allow=allow,
                deny=deny,
                exact=exact,
                check=_check_of(parts, call),
            )
            return _split(answers, parts)

        filtered = 0 if allow is None else len(allow).bit_length() + 1
        kind = ("predict", call.model, exact, k.bit_length(), filtered)
        shared = allow is None and deny is None
        key = (engine, k, exclude_known, exact) if shared else None
        heads, asked = _valid(resolved, (entities, relations))
        loops, done = [], 0
        builder = AnswersBuilder(response, model, resolved, k, model.entities, options.view)
        for answers in self._run(run, (entities, relations), resolved, call, kind, key):
            part = slice(done, done + len(answers))
            queries = heads[part], asked[part]
            numbers = candidate_numbers(model, queries[1], answers, options)
            if options.plausibility:
                numbers |= self._plausibilities(engine, answered(model, *queries, answers), call)
            done = part.stop
            loops.append(answers.self_loop_excluded)
            builder.add(*apply_thresholds(answers, numbers, options), call)
        left_out = loops[0] if len(loops) == 1 else np.concatenate([np.zeros(0, bool), *loops])
        return builder.finish(known_facts(engine, exclude_known), call, left_out)

    def _pick(self, selector: common_pb2.ModelSelector, call: Call) -> Model:
        model = self._models.get(selector)
        call.model = f"{model.name}/{model.version}"
        return model

    def _run(
        self,
        run: Callable[[Sequence[Part]], Sequence[R]],
        columns: Part,
        resolved: Resolved,
        call: Call,
        kind: Hashable,
        key: Hashable = None,
    ) -> Iterator[R]:
        """Results for the queries that did not fail, chunk by chunk."""
        call.queries, call.failed = resolved.size, len(resolved.errors)
        columns = _valid(resolved, columns)

        def part(start: int, stop: int) -> Part:
            return tuple(column[start:stop] for column in columns)

        size = len(columns[0])
        begin = perf_counter()
        for result in self._batcher.run(part, run, size, call, kind=kind, key=key):
            waited = perf_counter() - begin
            for stage, seconds in getattr(result, "seconds", {}).items():
                call.seconds[stage] = call.seconds.get(stage, 0.0) + seconds
                waited -= seconds
            call.seconds["queue"] = call.seconds.get("queue", 0.0) + max(0.0, waited)
            yield result
            begin = perf_counter()

    def _plausibilities(self, engine: Engine, triples: Part, call: Call) -> Numbers:
        """Plausibilities of triples, [A], chunk by chunk; nothing without calibration."""
        if engine.bundle.calibration is None:
            return {}

        def part(start: int, stop: int) -> Part:
            return tuple(column[start:stop] for column in triples)

        def run(parts: Sequence[Part]) -> list[NDArray[Any]]:
            return [triple_plausibilities(engine, *one)["plausibilities"] for one in parts]

        kind = ("plausibility", call.model)
        chunks = self._batcher.run(part, run, len(triples[0]), call, kind=kind)
        return {"plausibilities": np.concatenate([np.zeros(0), *chunks])}

    def predict_relations(
        self, request: prediction_pb2.PredictRelationsRequest, call: Call
    ) -> bytes:
        """(head, ?, tail)."""
        model = self._pick(request.model, call)
        self._limits.check_batch("heads", request.heads)
        check_same_length("tails", request.tails, "heads", request.heads)
        engine = model.engine
        options = read_options(request.options, self._limits, engine.num_relations, model)
        resolved = Resolved(len(request.heads))
        heads = model.resolver.entities("heads", request.heads, resolved)
        tails = model.resolver.entities("tails", request.tails, resolved)

        def run(parts: Sequence[Part]) -> list[tuple[Results, Numbers]]:
            ((heads, tails),) = parts
            answers = engine.relations(
                heads,
                tails,
                options.k,
                exclude_known=options.exclude_known,
                check=_check_of(parts, call),
            )
            owners, rows = answers.owners, answers.rows.astype(np.int64)
            return [(answers, triple_plausibilities(engine, heads[owners], rows, tails[owners]))]

        response = prediction_pb2.PredictRelationsResponse()
        builder = AnswersBuilder(
            response, model, resolved, options.k, model.relations, options.view
        )
        kind = ("relations", call.model)
        for answers, numbers in self._run(run, (heads, tails), resolved, call, kind):
            builder.add(*apply_thresholds(answers, numbers, options), call)
        return builder.finish(known_facts(engine, options.exclude_known), call)

    def score_triples(
        self, request: prediction_pb2.ScoreTriplesRequest, call: Call
    ) -> prediction_pb2.ScoreTriplesResponse:
        """How plausible each triple is."""
        model = self._pick(request.model, call)
        self._limits.check_batch("heads", request.heads)
        for field in ("relations", "tails"):
            check_same_length(field, getattr(request, field), "heads", request.heads)
        resolved = Resolved(len(request.heads))
        context = read_context(model, request.context, call)
        engine = context.engine
        triples = (
            context.entities("heads", request.heads, resolved),
            model.resolver.relations("relations", request.relations, resolved),
            context.entities("tails", request.tails, resolved),
        )
        ranks, base_rate = request.ranks, read_base_rate(request)

        def run(parts: Sequence[Part]) -> list[Columns]:
            return [
                score_columns(engine, *part, base_rate=base_rate, ranks=ranks, check=call.check)
                for part in parts
            ]

        kind = ("score", call.model, ranks)
        chunks = list(self._run(run, triples, resolved, call, kind))
        response = prediction_pb2.ScoreTriplesResponse(
            model=version_of(model),
            codes=codes_of(resolved),
            errors=pack_errors(resolved, call.id),
            known_facts=known_facts(engine, excluded=False),
            base_rate=0.0 if model.bundle.calibration is None else base_rate,
            placements=context.placements,
        )
        for name in chunks[0] if chunks else ():
            column = np.concatenate([chunk[name] for chunk in chunks])
            getattr(response, name).extend(spread(column, resolved.valid, resolved.size).tolist())
        return response

    def explain(
        self, request: prediction_pb2.ExplainRequest, call: Call
    ) -> prediction_pb2.ExplainResponse:
        """Why triples are answers."""
        model = self._pick(request.model, call)
        return explain_triples(request, model, self._batcher, self._limits, call)

    def similar_entities(self, request: prediction_pb2.SimilarEntitiesRequest, call: Call) -> bytes:
        """The nearest entities."""
        model = self._pick(request.model, call)
        self._limits.check_batch("entities", request.entities)
        engine = model.engine
        others = max(1, engine.num_entities - 1)
        k = read_k("k", request.k if request.HasField("k") else None, self._limits, others)
        view = read_view("view", request.view)
        allow, deny = read_filter(request.filter, self._limits, model, call)
        resolved = Resolved(len(request.entities))
        entities = model.resolver.entities("entities", request.entities, resolved)

        def run(parts: Sequence[Part]) -> list[Results]:
            check = _check_of(parts, call)
            return [
                engine.similar(rows, k, allow=allow, deny=deny, check=check) for (rows,) in parts
            ]

        response = prediction_pb2.SimilarEntitiesResponse()
        builder = AnswersBuilder(response, model, resolved, k, model.entities, view)
        kind = ("similar", call.model, k.bit_length())
        for answers in self._run(run, (entities,), resolved, call, kind):
            builder.add(answers, {}, call)
        return builder.finish(common_pb2.KNOWN_FACTS_UNSPECIFIED, call)


def _valid(resolved: Resolved, columns: Part) -> Part:
    """Columns of the queries that did not fail."""
    if not resolved.errors:
        return columns
    valid = resolved.valid
    return tuple(column[valid] for column in columns)


def _check_of(parts: Sequence[Part], call: Call) -> Check:
    """Return what ends a run whose caller has left; a shared run goes on for the others."""
    return call.check if len(parts) == 1 else no_check


def _join(parts: Sequence[Part]) -> Part:
    """The columns of all parts of a run."""
    if len(parts) == 1:
        return parts[0]
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _split(answers: Results, parts: Sequence[Part]) -> list[Results]:
    """The answers of each part of a run."""
    if len(parts) == 1:
        return [answers]
    ends = np.cumsum([len(part[0]) for part in parts]).tolist()
    return [answers.part(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def candidate_numbers(model: Model, relations: Rows, answers: Results, options: Options) -> Numbers:
    """Prior and probability of each answer.

    Args:
        model: that answered.
        relations: of the queries, [B] rows in [0, 2R).
        answers: of the queries.
        options: of the request.
    """
    priors, numbers = options.exclude_known, Numbers()
    if priors and answers.priors is not None:
        numbers["priors"] = answers.priors
    if model.bundle.calibration is not None:
        numbers["probabilities"] = model.bundle.calibration.probability(
            answers.totals, relations[answers.owners], priors=priors
        )
    return numbers


def answered(model: Model, entities: Rows, relations: Rows, answers: Results) -> Part:
    """Heads, relations and tails of the triples that answers to (entity, relation, ?) stand for."""
    count, rows = model.engine.num_relations, answers.rows.astype(np.int64)
    asked, given = relations[answers.owners], entities[answers.owners]
    backwards = asked >= count
    heads, tails = np.where(backwards, rows, given), np.where(backwards, given, rows)
    return heads, asked % count, tails


def apply_thresholds(
    answers: Results, numbers: Numbers, options: Options
) -> tuple[Results, Numbers]:
    """Answers and their numbers [A] that reach the thresholds."""
    if options.score_threshold is None and options.probability_threshold is None:
        return answers, numbers
    kept = np.ones(len(answers.rows), dtype=bool)
    if options.score_threshold is not None:
        kept &= answers.scores >= options.score_threshold
    if options.probability_threshold is not None:
        chances = numbers["probabilities" if "probabilities" in numbers else "plausibilities"]
        kept &= chances >= options.probability_threshold
    if kept.all():
        return answers, numbers
    return answers.where(kept), {name: values[kept] for name, values in numbers.items()}


def triple_plausibilities(engine: Engine, heads: Rows, relations: Rows, tails: Rows) -> Numbers:
    """Plausibilities of triples, [A]; nothing without calibration."""
    if engine.bundle.calibration is None:
        return {}
    triples, found = (heads, relations, tails), np.zeros(0)
    if len(heads):
        scores = engine.triple_scores(*triples)
        found = plausibilities(engine, triples, scores)
    return {"plausibilities": found}


def score_columns(
    engine: Engine,
    heads: Rows,
    relations: Rows,
    tails: Rows,
    *,
    base_rate: float,
    ranks: bool,
    check: Check,
) -> Columns:
    """The arrays of ScoreTriplesResponse, [B] each, for triples that exist."""
    tail_scores, head_scores = engine.triple_scores(heads, relations, tails)
    columns: Columns = {
        "scores": (tail_scores + head_scores) / 2,
        "tail_scores": tail_scores,
        "head_scores": head_scores,
    }
    triples = heads, relations, tails
    columns["self_loops"] = engine.self_loops(*triples)
    if engine.bundle.calibration is not None:
        scores = tail_scores, head_scores
        columns["plausibilities"] = plausibilities(engine, triples, scores, base_rate)
    known = engine.amendments.known
    if known is not None:
        columns["known"] = known.contains(heads, relations, tails)
    if ranks:
        back = relations + engine.num_relations
        columns["tail_ranks"] = engine.ranks(heads, relations, tails, use_priors=False, check=check)
        columns["head_ranks"] = engine.ranks(tails, back, heads, use_priors=False, check=check)
    return columns

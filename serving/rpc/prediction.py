"""PredictTails and PredictHeads: read the request, run the engine in chunks, build the response.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from time import perf_counter
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mulde.typing import Rows
from mulde.v1 import common_pb2, prediction_pb2
from serving.engine.engine import Engine
from serving.engine.index.base import Check, no_check
from serving.engine.results import Results
from serving.engine.triples import plausibilities
from serving.registry.batcher import Batcher
from serving.registry.entity_resolver import Resolved
from serving.registry.model import Model
from serving.rpc.context import read_context
from serving.rpc.handlers import Call
from serving.rpc.request import (
    Limits,
    Options,
    check_same_length,
    read_filter,
    read_options,
)
from serving.rpc.response import (
    AnswersBuilder,
    Numbers,
    known_facts,
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


class EntityPrediction:
    """PredictTails and PredictHeads, and what the other calls of their service share with them."""

    def __init__(self, models: Models, batcher: Batcher, limits: Limits) -> None:
        """Answer from ``models`` through ``batcher``, within ``limits``."""
        self._models, self._batcher, self._limits = models, batcher, limits

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
        model = self.pick(request.model, call)
        self._limits.check_batch(field, names)
        check_same_length("relations", request.relations, field, names)
        engine, rows_of = model.engine, model.resolver.entities
        if request.context:
            context = read_context(model, request.context, self._batcher, call)
            engine, rows_of = context.engine, context.entities
            response.placements.extend(context.placements)
        options = read_options(request.options, self._limits, engine.num_entities, model)
        allow, deny = read_filter(request.filter, self._limits, model, call)
        resolved = Resolved(len(names))
        entities = rows_of(field, names, resolved)
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
                check=check_of(parts, call),
            )
            return _split(answers, parts)

        filtered = 0 if allow is None else len(allow).bit_length() + 1
        kind = ("predict", call.model, exact, k.bit_length(), filtered)
        shared = allow is None and deny is None
        key = (engine, k, exclude_known, exact) if shared else None
        heads, asked = _valid(resolved, (entities, relations))
        loops, done = [], 0
        builder = AnswersBuilder(response, model, resolved, k, model.entities, options.view)
        for answers in self.run(run, (entities, relations), resolved, call, kind, key):
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

    def pick(self, selector: common_pb2.ModelSelector, call: Call) -> Model:
        """Return the model that a request means, and note it in the call."""
        model = self._models.get(selector)
        call.model = f"{model.name}/{model.version}"
        return model

    def run(
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


def _valid(resolved: Resolved, columns: Part) -> Part:
    """Columns of the queries that did not fail."""
    if not resolved.errors:
        return columns
    valid = resolved.valid
    return tuple(column[valid] for column in columns)


def check_of(parts: Sequence[Part], call: Call) -> Check:
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

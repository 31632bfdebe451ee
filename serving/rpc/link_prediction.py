"""LinkPredictionService: its table of methods, and those besides PredictTails and PredictHeads.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.descriptor import MethodDescriptor
from numpy.typing import NDArray

from mulde.typing import Rows
from mulde.v1 import common_pb2, prediction_pb2
from serving.engine.engine import Engine
from serving.engine.index.base import Check
from serving.engine.results import Results
from serving.engine.triples import plausibilities
from serving.registry.entity_resolver import Resolved
from serving.rpc.context import read_context
from serving.rpc.explanation import explain_triples
from serving.rpc.handlers import Call, Run
from serving.rpc.prediction import (
    EntityPrediction,
    Part,
    apply_thresholds,
    check_of,
    triple_plausibilities,
)
from serving.rpc.request import (
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


class LinkPrediction(EntityPrediction):
    """The calls of LinkPredictionService."""

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

    def predict_relations(
        self, request: prediction_pb2.PredictRelationsRequest, call: Call
    ) -> bytes:
        """(head, ?, tail)."""
        model = self.pick(request.model, call)
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
                check=check_of(parts, call),
            )
            owners, rows = answers.owners, answers.rows.astype(np.int64)
            return [(answers, triple_plausibilities(engine, heads[owners], rows, tails[owners]))]

        response = prediction_pb2.PredictRelationsResponse()
        builder = AnswersBuilder(
            response, model, resolved, options.k, model.relations, options.view
        )
        kind = ("relations", call.model)
        for answers, numbers in self.run(run, (heads, tails), resolved, call, kind):
            builder.add(*apply_thresholds(answers, numbers, options), call)
        return builder.finish(known_facts(engine, options.exclude_known), call)

    def score_triples(
        self, request: prediction_pb2.ScoreTriplesRequest, call: Call
    ) -> prediction_pb2.ScoreTriplesResponse:
        """How plausible each triple is."""
        model = self.pick(request.model, call)
        self._limits.check_batch("heads", request.heads)
        for field in ("relations", "tails"):
            check_same_length(field, getattr(request, field), "heads", request.heads)
        resolved = Resolved(len(request.heads))
        context = read_context(model, request.context, self._batcher, call)
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
        chunks = list(self.run(run, triples, resolved, call, kind))
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
        model = self.pick(request.model, call)
        return explain_triples(request, model, self._batcher, self._limits, call)

    def similar_entities(self, request: prediction_pb2.SimilarEntitiesRequest, call: Call) -> bytes:
        """The nearest entities."""
        model = self.pick(request.model, call)
        self._limits.check_batch("entities", request.entities)
        engine = model.engine
        others = max(1, engine.num_entities - 1)
        k = read_k("k", request.k if request.HasField("k") else None, self._limits, others)
        view = read_view("view", request.view)
        allow, deny = read_filter(request.filter, self._limits, model, call)
        resolved = Resolved(len(request.entities))
        entities = model.resolver.entities("entities", request.entities, resolved)

        def run(parts: Sequence[Part]) -> list[Results]:
            check = check_of(parts, call)
            return [
                engine.similar(rows, k, allow=allow, deny=deny, check=check) for (rows,) in parts
            ]

        response = prediction_pb2.SimilarEntitiesResponse()
        builder = AnswersBuilder(response, model, resolved, k, model.entities, view)
        kind = ("similar", call.model, k.bit_length())
        for answers in self.run(run, (entities,), resolved, call, kind):
            builder.add(answers, {}, call)
        return builder.finish(common_pb2.KNOWN_FACTS_UNSPECIFIED, call)


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

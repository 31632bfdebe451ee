"""Explain: why triples are answers.

Shape letters: B triples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mulde.bundle.facts.path_rules import NO_STEP
from mulde.errors import InvalidArgument, Unsupported
from mulde.typing import Rows
from mulde.v1 import prediction_pb2
from serving.engine.explanation.explain import TripleExplanations, Wanted, explain
from serving.engine.explanation.paths import NO_ENTITY, FoundPaths
from serving.engine.explanation.similar_facts import SimilarFacts
from serving.engine.explanation.supporting_facts import SupportingFacts
from serving.registry.batcher import Batcher
from serving.registry.entity_resolver import LabelCache, Resolved
from serving.registry.model import Model
from serving.rpc.handlers import Call
from serving.rpc.request import Limits, check_same_length
from serving.rpc.response import codes_of, pack_errors, version_of

MOST_TRIPLES = 100
MOST_OF_EACH = 20
_DEFAULT = 3

Part = tuple[Rows, Rows, Rows]


def explain_triples(
    request: prediction_pb2.ExplainRequest,
    model: Model,
    batcher: Batcher,
    limits: Limits,
    call: Call,
) -> prediction_pb2.ExplainResponse:
    """Explain the triples of a request with the facts of a model's bundle.

    Raises:
        InvalidArgument: naming the field.
        Unsupported: if the bundle has no known facts.
    """
    wanted = Wanted(*(_read_count(request, field) for field in ("paths", "similar", "supporting")))
    resolved, triples = _read_triples(request, model, limits)
    if model.engine.amendments.known is None:
        raise Unsupported("heads", "known facts, so that it cannot explain answers")

    def part(start: int, stop: int) -> Part:
        return triples[0][start:stop], triples[1][start:stop], triples[2][start:stop]

    def run(parts: Sequence[Part]) -> list[list[prediction_pb2.Explanation]]:
        return [_explain(model, one, wanted, call) for one in parts]

    call.queries, call.failed = resolved.size, len(resolved.errors)
    chunks = batcher.run(part, run, len(triples[0]), call, kind=("explain", call.model))
    made = dict(
        zip(resolved.valid.tolist(), (one for chunk in chunks for one in chunk), strict=True)
    )
    nothing = prediction_pb2.Explanation()
    return prediction_pb2.ExplainResponse(
        model=version_of(model),
        codes=codes_of(resolved),
        errors=pack_errors(resolved, call.id),
        explanations=[made.get(place, nothing) for place in range(resolved.size)],
        has_rules=model.bundle.rules is not None,
    )


def _read_count(request: prediction_pb2.ExplainRequest, field: str) -> int:
    if not request.HasField(field):
        return _DEFAULT
    count: int = getattr(request, field)
    if not 0 <= count <= MOST_OF_EACH:
        raise InvalidArgument(field, f"0 to {MOST_OF_EACH}", count)
    return count


def _read_triples(
    request: prediction_pb2.ExplainRequest, model: Model, limits: Limits
) -> tuple[Resolved, Part]:
    """The rows of the triples that have some."""
    most = min(MOST_TRIPLES, limits.max_batch_size)
    if not 1 <= len(request.heads) <= most:
        raise InvalidArgument("heads", f"1 to {most} triples", len(request.heads))
    for field in ("relations", "tails"):
        check_same_length(field, getattr(request, field), "heads", request.heads)
    resolved = Resolved(len(request.heads))
    heads = model.resolver.entities("heads", request.heads, resolved)
    relations = model.resolver.relations("relations", request.relations, resolved)
    tails = model.resolver.entities("tails", request.tails, resolved)
    valid = resolved.valid
    return resolved, (heads[valid], relations[valid], tails[valid])


def _explain(
    model: Model, triples: Part, wanted: Wanted, call: Call
) -> list[prediction_pb2.Explanation]:
    found = explain(model.engine, *triples, wanted, call.check)
    return _Messages(model, triples, found).all()


class _Messages:
    """Explanations as messages, with names that are each looked up once."""

    def __init__(self, model: Model, triples: Part, found: TripleExplanations) -> None:
        self._rules, self._count = model.bundle.rules, model.engine.num_relations
        self._triples, self._found = triples, found
        heads, relations, tails = triples
        entities = [heads, tails, found.similar.heads, found.similar.tails]
        entities += [found.supporting.heads, found.supporting.tails]
        relations = np.concatenate([relations, found.supporting.relations])
        if found.paths is not None and self._rules is not None:
            entities.append(found.paths.between[found.paths.between != NO_ENTITY])
            steps = self._rules.steps[found.paths.rules]
            relations = np.concatenate([relations, steps[steps != NO_STEP] % self._count])
        self._entities = _names(model.entities, np.concatenate(entities))
        self._relations = _names(model.relations, relations)

    def all(self) -> list[prediction_pb2.Explanation]:
        """One message for each triple."""
        return [self._message(place) for place in range(len(self._triples[0]))]

    def _message(self, place: int) -> prediction_pb2.Explanation:
        found, (head, relation, tail) = self._found, (int(c[place]) for c in self._triples)
        message = prediction_pb2.Explanation(
            head=self._entities[head],
            relation=self._relations[relation],
            tail=self._entities[tail],
            tail_score=found.tail_scores[place],
            head_score=found.head_scores[place],
            tail_prior=found.tail_priors[place],
            head_prior=found.head_priors[place],
            plausibility=None if found.plausibilities is None else found.plausibilities[place],
            known=found.known[place],
            known_tails=found.known_tails[place],
            known_heads=found.known_heads[place],
            self_loop=found.self_loops[place],
            similar_facts=self._similar(found.similar, place),
            supporting_facts=self._supporting(found.supporting, place),
        )
        if found.paths is not None:
            message.paths.extend(self._paths(found.paths, place, relation, tail))
            message.paths_cut = bool(found.paths.cut[place])
        return message

    def _paths(
        self, found: FoundPaths, place: int, relation: int, tail: int
    ) -> Iterable[prediction_pb2.ExplanationPath]:
        rules = self._rules
        assert rules is not None
        for path in range(int(found.offsets[place]), int(found.offsets[place + 1])):
            rule = int(found.rules[path])
            between = [row for row in found.between[path].tolist() if row != NO_ENTITY]
            steps = [step for step in rules.steps[rule].tolist() if step != NO_STEP]
            yield prediction_pb2.ExplanationPath(
                steps=[
                    self._step(step, row) for step, row in zip(steps, [*between, tail], strict=True)
                ],
                confidence=rules.confidence[rule],
                support=rules.support[rule],
                sampled=rules.sampled[relation],
                walks=int(found.counts[path]),
            )

    def _step(self, direction: int, entity: int) -> prediction_pb2.PathStep:
        return prediction_pb2.PathStep(
            relation=self._relations[direction % self._count],
            backwards=direction >= self._count,
            entity=self._entities[entity],
        )

    def _similar(self, found: SimilarFacts, place: int) -> list[prediction_pb2.SimilarFact]:
        return [
            prediction_pb2.SimilarFact(
                head=self._entities[int(found.heads[fact])],
                tail=self._entities[int(found.tails[fact])],
                distance=found.distances[fact],
            )
            for fact in range(int(found.offsets[place]), int(found.offsets[place + 1]))
        ]

    def _supporting(
        self, found: SupportingFacts, place: int
    ) -> list[prediction_pb2.SupportingFact]:
        return [
            prediction_pb2.SupportingFact(
                head=self._entities[int(found.heads[fact])],
                relation=self._relations[int(found.relations[fact])],
                tail=self._entities[int(found.tails[fact])],
                support=found.support[fact],
            )
            for fact in range(int(found.offsets[place]), int(found.offsets[place + 1]))
        ]


def _names(names: LabelCache, rows: Rows) -> dict[int, prediction_pb2.NamedItem]:
    distinct = np.unique(rows)
    pairs = zip(names.ids.take(distinct), names.labels.take(distinct), strict=True)
    items = (prediction_pb2.NamedItem(id=one, label=label) for one, label in pairs)
    return dict(zip(distinct.tolist(), items, strict=True))

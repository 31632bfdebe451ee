"""Entities that the model does not know, placed for one request by its ``context`` facts.

Shape letters: c context facts, n facts of one entity, W width of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mulde.bundle.facts.amended_facts import AmendedFacts
from mulde.errors import InvalidArgument, UnknownEntity
from mulde.placement.solver import Placement
from mulde.typing import Rows
from mulde.v1 import prediction_pb2
from serving.engine.engine import Engine
from serving.registry.batcher import Batcher
from serving.registry.entity_resolver import Resolved
from serving.registry.model import Model
from serving.registry.placed_entities import MOST_FACTS_OF_ENTITY
from serving.rpc.handlers import Call

MOST_FACTS = 10_000

Facts = Sequence[prediction_pb2.ContextFact]


@dataclass(frozen=True)
class Context:
    """The model of one request.

    Attributes:
        model: that was asked.
        engine: of the model, with the placed entities as rows that are no answers.
        rows: row of each placed entity, by the name that the request uses.
        placements: as the response tells them.
    """

    model: Model
    engine: Engine
    rows: dict[str, int] = field(default_factory=dict)
    placements: list[prediction_pb2.Placement] = field(default_factory=list)

    def entities(self, field: str, names: Sequence[str], resolved: Resolved) -> Rows:
        """Return rows [B] of entities, placed ones too; see ``EntityResolver.entities``."""
        rows = self.model.resolver.entities(field, names, resolved)
        if not self.rows:
            return rows
        for place, error in list(resolved.errors.items()):
            own = isinstance(error, UnknownEntity) and error.field == f"{field}[{place}]"
            if own and names[place] in self.rows:
                rows[place] = self.rows[names[place]]
                del resolved.errors[place]
        return rows


def read_context(model: Model, facts: Facts, batcher: Batcher, call: Call) -> Context:
    """Place the unknown entities of a request's context, in turns with other requests.

    Raises:
        InvalidArgument, UnknownRelation: naming the fact.
        Overloaded: for many facts, if too many bulk requests are in flight.
        DeadlineExceeded: if the caller does not wait any more.
    """
    engine = model.engine
    if not facts:
        return Context(model, engine)
    if len(facts) > MOST_FACTS:
        raise InvalidArgument("context", f"at most {MOST_FACTS} facts", len(facts))
    if len(facts) > MOST_FACTS_OF_ENTITY:
        call.enter_bulk()
    names, triples = _read(model, engine, facts)
    rows = {name: engine.num_rows + place for place, name in enumerate(names)}
    method = (
        prediction_pb2.PLACEMENT_METHOD_FITTED
        if model.placer.has_guard
        else prediction_pb2.PLACEMENT_METHOD_QUERY_MEAN
    )
    placements = [
        prediction_pb2.Placement(entity=name, method=method, facts=int((triples[:, 0] == i).sum()))
        for i, name in enumerate(names)
    ]
    for told in placements:
        if told.facts > MOST_FACTS_OF_ENTITY:
            expected = f"at most {MOST_FACTS_OF_ENTITY} facts about {told.entity!r}"
            raise InvalidArgument("context", expected, told.facts)
    own = [triples[triples[:, 0] == place] for place in range(len(names))]
    amended = _with_rows(engine, triples, _place(model, engine, own, batcher, call))
    return Context(model, amended, rows, placements)


def _read(model: Model, engine: Engine, facts: Facts) -> tuple[list[str], Rows]:
    """Return the unknown names, and facts [c, 3]: name, relation in [0, 2R), known entity."""
    sides = []
    for side in ("head", "tail"):
        resolved = Resolved(len(facts))
        asked = [getattr(fact, side) for fact in facts]
        rows = model.resolver.entities("context", asked, resolved).copy()
        for place, error in resolved.errors.items():
            if not isinstance(error, UnknownEntity):
                raise InvalidArgument(f"context[{place}].{side}", "an id or a unique label", error)
            rows[place] = -1
        sides.append(rows)
    heads, tails = sides
    wrong = np.flatnonzero((heads < 0) == (tails < 0))
    if len(wrong):
        expected = "one entity that the model knows and one that it does not know"
        raise InvalidArgument(f"context[{wrong[0]}]", expected, _told(facts[wrong[0]]))
    resolved = Resolved(len(facts))
    relations = model.resolver.relations("context", [f.relation for f in facts], resolved)
    for place in sorted(resolved.errors):
        raise resolved.errors[place]
    backwards = heads >= 0
    unknown = [f.tail if back else f.head for f, back in zip(facts, backwards, strict=True)]
    places = {name: place for place, name in enumerate(dict.fromkeys(unknown))}
    owners = np.array([places[name] for name in unknown], np.int64)
    turned = relations + backwards * engine.num_relations
    return list(places), np.column_stack([owners, turned, np.where(backwards, heads, tails)])


def _place(
    model: Model, engine: Engine, facts: list[Rows], batcher: Batcher, call: Call
) -> list[Placement]:
    """Place entities by their facts, each [n, 3]; an entity takes about a chunk of the engine."""
    overlay = engine.amendments.overlay

    def run(parts: Sequence[list[Rows]]) -> list[list[Placement]]:
        return [[place(own) for own in part] for part in parts]

    def place(own: Rows) -> Placement:
        call.check()
        return model.placer.place(model.placer.query_rows(overlay, own[:, 2]), own[:, 1])

    kind = ("place", call.model)
    chunks = batcher.run(lambda i, j: facts[i:j], run, len(facts), call, kind=kind)
    return [placement for chunk in chunks for placement in chunk]


def _with_rows(engine: Engine, triples: Rows, placed: list[Placement]) -> Engine:
    """Return an engine in which the placed entities have rows and their facts are known."""
    amendments, first = engine.amendments, engine.num_rows
    as_query = np.stack([one.as_query for one in placed]).astype(np.float32)
    as_answer = np.stack([one.as_answer for one in placed]).astype(np.float32)
    relations = engine.num_relations
    facts = np.add(triples, [first, 0, 0])
    back = np.column_stack([facts[:, 2], (facts[:, 1] + relations) % (2 * relations), facts[:, 0]])
    both = np.unique(np.concatenate([facts, back]), axis=0)
    known = AmendedFacts(amendments.known, first, both, np.zeros(len(both), bool))
    overlay = amendments.overlay.with_queries(as_query, as_answer)
    return engine.amended(replace(amendments, known=known, overlay=overlay))


def _told(fact: prediction_pb2.ContextFact) -> str:
    return f"{fact.head!r}, {fact.relation!r}, {fact.tail!r}"

"""FactService: add, remove and list facts that came after the training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from google.protobuf.descriptor import MethodDescriptor

from mulde.errors import InvalidArgument, UnknownEntity, shorten
from mulde.storage.fact_records import Names, NewEntity
from mulde.storage.fact_store import MOST_ENTITIES
from mulde.typing import Mask, Rows
from mulde.v1 import facts_pb2
from serving.registry.entity_resolver import Resolved
from serving.registry.model import Model
from serving.registry.placed_entities import unplaceable
from serving.rpc.handlers import Call, Run
from serving.rpc.prediction import Models
from serving.rpc.request import check_same_length, next_token, read_page_size, read_token
from serving.rpc.response import version_of

MOST_FACTS = 10_000
"""Facts in one request, and changes in one page."""
_PAGE = 1000
_MOST_LABEL, _MOST_TEXT, _MOST_TYPES = 1024, 10_000, 100
"""Bytes of a label or a type, bytes of a description, and types of a new entity."""
_RANKED, _RANKED_EVERY_S = 4, 0.1
"""Added facts that are ranked by the model before them, at most so many in so many seconds."""


class FactChanges:
    """The calls of FactService."""

    def __init__(self, models: Models) -> None:
        """Change the facts of ``models``."""
        self._models, self._next_ranked_s = models, 0.0

    def methods(self) -> dict[MethodDescriptor, Run]:
        """What runs each method."""
        service = facts_pb2.DESCRIPTOR.services_by_name["FactService"]
        runs: dict[str, Run] = {
            "AddFacts": self.add_facts,
            "RemoveFacts": self.remove_facts,
            "ListChangedFacts": self.list_facts,
        }
        return {method: runs[method.name] for method in service.methods}

    def add_facts(
        self, request: facts_pb2.AddFactsRequest, call: Call
    ) -> facts_pb2.AddFactsResponse:
        """Add facts: all or none."""
        model = self._pick(request.model, call)
        batch = _Batch(model, request.facts, unknown_entities=request.new_entities)
        batch.check_placeable()
        fresh = ~batch.is_known()
        facts, entities = batch.facts(fresh), batch.new_entities(request.entities)
        if facts or entities:
            if time.monotonic() >= self._next_ranked_s:
                call.ranks = batch.sample(fresh)
                self._next_ranked_s = time.monotonic() + _RANKED_EVERY_S
            model.live.store.change(facts, removed=False, entities=entities)
            model.refresh()
        return facts_pb2.AddFactsResponse(
            model=version_of(model),
            added=len(facts),
            unchanged=len(fresh) - len(facts),
            new_entities=batch.new,
        )

    def remove_facts(
        self, request: facts_pb2.RemoveFactsRequest, call: Call
    ) -> facts_pb2.RemoveFactsResponse:
        """Remove facts that are known."""
        model = self._pick(request.model, call)
        # An entity without facts has no row any more, so an unknown name is a fact that is missing.
        batch = _Batch(model, request.facts, unknown_entities=True)
        known = batch.is_known()
        facts = batch.facts(known)
        if facts:
            model.live.store.change(facts, removed=True)
            model.refresh()
        missing = np.flatnonzero(~known).tolist()
        return facts_pb2.RemoveFactsResponse(
            model=version_of(model), removed=len(facts), missing=missing
        )

    def list_facts(
        self, request: facts_pb2.ListChangedFactsRequest, call: Call
    ) -> facts_pb2.ListChangedFactsResponse:
        """List changes in their order."""
        model = self._pick(request.model, call)
        size = read_page_size(request.page_size, _PAGE, MOST_FACTS)
        after = read_token(request.page_token, f"facts of {model.name}")
        changes = model.live.store.changes(after, size)
        heads, relations, tails = (
            zip(*(c.fact for c in changes), strict=True) if changes else [()] * 3
        )
        more = len(changes) == size
        token = next_token(changes[-1].sequence, f"facts of {model.name}") if more else ""
        return facts_pb2.ListChangedFactsResponse(
            model=version_of(model),
            facts=facts_pb2.FactBatch(heads=heads, relations=relations, tails=tails),
            removed=[change.removed for change in changes],
            times_s=[change.time_s for change in changes],
            next_page_token=token,
        )

    def _pick(self, selector: object, call: Call) -> Model:
        model = self._models.get(selector)  # type: ignore[arg-type]
        call.model = str(model)
        _ = model.live  # refuse before anything is read
        return model


class _Batch:
    """Facts of a request, read against one model.

    Attributes:
        new: ids of entities that are new.
    """

    def __init__(
        self, model: Model, message: facts_pb2.FactBatch, *, unknown_entities: bool
    ) -> None:
        """Look the names up; entities may be unknown where ``unknown_entities``.

        Raises:
            InvalidArgument, UnknownName, AmbiguousLabel: for the first name that cannot be read.
        """
        heads, relations, tails = message.heads, message.relations, message.tails
        if not 1 <= len(heads) <= MOST_FACTS:
            raise InvalidArgument("facts.heads", f"1 to {MOST_FACTS} facts", len(heads))
        check_same_length("facts.relations", relations, "facts.heads", heads)
        check_same_length("facts.tails", tails, "facts.heads", heads)
        self._model, self._unknown_allowed = model, unknown_entities
        self._new: dict[str, None] = {}
        rows = [
            self._entities("facts.heads", heads),
            self._relations(relations),
            self._entities("facts.tails", tails),
        ]
        self._rows = np.column_stack(rows)
        self._names = self._ids(heads, tails)

    @property
    def new(self) -> list[str]:
        return list(self._new)

    def new_entities(self, texts: Sequence[facts_pb2.NewEntity]) -> list[NewEntity]:
        """The new entities as they are stored, and those whose texts are given again.

        Raises:
            InvalidArgument: naming the field, for texts that cannot be stored, of an entity that
                the vocabulary has or that no fact names.
        """
        if len(texts) > MOST_ENTITIES:
            raise InvalidArgument("entities", f"at most {MOST_ENTITIES}", len(texts))
        found = {name: NewEntity(name) for name in self._new}
        first, rows = self._model.engine.num_entities, self._model.new.rows
        for place, one in enumerate(texts):
            if one.id not in found and rows.get(one.id, 0) < first:
                expected = "a new entity that a fact names"
                raise InvalidArgument(f"entities[{place}].id", expected, one.id)
            found[one.id] = _read_texts(f"entities[{place}]", one)
        return list(found.values())

    def _entities(self, field: str, names: Sequence[str]) -> Rows:
        """Rows [n]; -1 for new entities."""
        resolved = Resolved(len(names))
        rows = self._model.resolver.entities(field, names, resolved).copy()
        for place, error in sorted(resolved.errors.items()):
            if not (self._unknown_allowed and isinstance(error, UnknownEntity)):
                raise error
            self._new[names[place]] = None
            rows[place] = -1
        if len(self._new) > MOST_ENTITIES:
            raise InvalidArgument(field, f"at most {MOST_ENTITIES} new entities", len(self._new))
        return rows

    def _relations(self, names: Sequence[str]) -> Rows:
        resolved = Resolved(len(names))
        rows = self._model.resolver.relations("facts.relations", names, resolved)
        for error in resolved.errors.values():
            raise error
        return rows

    def _ids(self, heads: Sequence[str], tails: Sequence[str]) -> list[Names]:
        """The facts by id, whatever they were named by."""
        sides = [self._ids_of(heads, self._rows[:, 0]), self._ids_of(tails, self._rows[:, 2])]
        relations = self._model.relations.ids.take(self._rows[:, 1])
        return list(zip(sides[0], relations, sides[1], strict=True))

    def _ids_of(self, names: Sequence[str], rows: Rows) -> list[str]:
        ids = self._model.entities.ids.take(np.maximum(rows, 0))
        return [names[i] if row < 0 else ids[i] for i, row in enumerate(rows.tolist())]

    def is_known(self) -> Mask:
        """Whether each fact is known [n]."""
        known = self._model.engine.amendments.known
        found = np.zeros(len(self._rows), bool)
        old = (self._rows >= 0).all(axis=1)
        if known is not None and old.any():
            found[old] = known.contains(*self._rows[old].T)
        return found

    def facts(self, wanted: Mask) -> list[Names]:
        """Distinct facts, by id, among some of the batch."""
        return list(dict.fromkeys(self._names[i] for i in np.flatnonzero(wanted).tolist()))

    def sample(self, wanted: Mask) -> Callable[[], Sequence[float]] | None:
        """Return what ranks a few facts of entities with a row in the table; None without any.

        Ranks are those of tails and heads, by the model as it is now.
        """
        engine = self._model.engine
        inside = (self._rows >= 0) & (
            self._rows < [engine.num_entities, 2**62, engine.num_entities]
        )
        rows = self._rows[wanted & inside.all(axis=1)]
        head, relation, tail = rows[:: max(1, len(rows) // _RANKED)][:_RANKED].T
        if not len(head):
            return None
        entities, targets = np.concatenate([head, tail]), np.concatenate([tail, head])
        relations = np.concatenate([relation, relation + engine.num_relations])

        def ranks() -> Sequence[float]:
            found: list[float] = engine.ranks(entities, relations, targets).tolist()
            return found

        return ranks

    def check_placeable(self) -> None:
        """Refuse new entities that no fact connects with an entity that has a row.

        Raises:
            InvalidArgument: naming one.
        """
        if not self._new:
            return
        others: dict[str, set[str]] = {name: set() for name in self._new}
        has_row: set[str] = set()
        for head, _, tail in self._names:
            for own, other in ((head, tail), (tail, head)):
                if own in others:
                    others[own].add(other)
                else:
                    has_row.add(own)
        lost = unplaceable(others, has_row)
        if lost:
            expected = "for each new entity a fact with an entity that has a row"
            raise InvalidArgument("facts", expected, f"none for {lost[0]!r}")


def _read_texts(where: str, one: facts_pb2.NewEntity) -> NewEntity:
    """Read the texts of a new entity.

    Raises:
        InvalidArgument: naming the field.
    """
    fields = [("label", one.label, _MOST_LABEL), ("description", one.description, _MOST_TEXT)]
    if len(one.types) > _MOST_TYPES:
        raise InvalidArgument(f"{where}.types", f"at most {_MOST_TYPES}", len(one.types))
    for name in one.types:
        fields.append(("types", name or "\n", _MOST_LABEL))
    for field, text, most in fields:
        if len(text.encode()) > most or not (text.isprintable() or not text):
            expected = f"one line of printable text, at most {most} bytes"
            raise InvalidArgument(f"{where}.{field}", expected, shorten(text))
    return NewEntity(one.id, one.label, one.description, tuple(dict.fromkeys(one.types)))

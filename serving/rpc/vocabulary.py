"""VocabularyService: what entities and relations are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from google.protobuf.descriptor import MethodDescriptor

from mulde.errors import InvalidArgument, Unsupported
from mulde.typing import Rows
from mulde.v1 import common_pb2, vocabulary_pb2
from serving.registry.batcher import Batcher
from serving.registry.entity_resolver import Resolved
from serving.registry.model import Model
from serving.rpc.entity_card import fact_counts, own_description, own_types
from serving.rpc.handlers import Call, Run
from serving.rpc.prediction import Models
from serving.rpc.request import Limits, next_token, read_page_size, read_token
from serving.rpc.response import codes_of, pack_errors, version_of

_PAGE = 100
_FOUND = 10
_DEEPEST = 1000
_MAP_PAGE, _MAP_DEEPEST = 10_000, 50_000
_MAP_BYTES = 100
"""Of an entity on a page of the map, names included; a page is no larger than a request may be."""
_MARKED = common_pb2.KNOWN_FACTS_MARKED
_UNAVAILABLE = common_pb2.KNOWN_FACTS_UNAVAILABLE

_Request: TypeAlias = (
    vocabulary_pb2.SearchEntitiesRequest
    | vocabulary_pb2.ListRelationsRequest
    | vocabulary_pb2.GetEntityRequest
    | vocabulary_pb2.ListFactsRequest
    | vocabulary_pb2.GetMapRequest
)


class VocabularySearch:
    """The calls of VocabularyService."""

    def __init__(self, models: Models, batcher: Batcher, limits: Limits) -> None:
        """Answer from ``models`` through ``batcher``, within ``limits``."""
        self._models, self._batcher, self._limits = models, batcher, limits

    def methods(self) -> dict[MethodDescriptor, Run]:
        """What runs each method."""
        service = vocabulary_pb2.DESCRIPTOR.services_by_name["VocabularyService"]
        runs: dict[str, Run] = {
            "SearchEntities": self.search_entities,
            "ListRelations": self.list_relations,
            "GetEntity": self.get_entity,
            "ListFacts": self.list_facts,
            "GetMap": self.get_map,
        }
        return {method: runs[method.name] for method in service.methods}

    def search_entities(
        self, request: vocabulary_pb2.SearchEntitiesRequest, call: Call
    ) -> vocabulary_pb2.SearchEntitiesResponse:
        """Entities for what was typed."""
        model = self._pick(request, call)
        queries = request.queries
        self._limits.check_batch("queries", queries)
        size = read_page_size(request.page_size, _FOUND, Limits.MAX_SEARCH_RESULTS)
        if request.page_token and len(queries) > 1:
            raise InvalidArgument("page_token", "none with more than one query", len(queries))
        if model.bundle.search is None:
            raise Unsupported("queries", "a search index")
        start = read_token(request.page_token, f"{model}:{queries[0]}")
        resolved = Resolved(len(queries))
        end = start + size

        def find(parts: Sequence[range]) -> list[list[list[int]]]:
            return [
                [self._find(model, place, queries[place], end, resolved) for place in part]
                for part in parts
            ]

        kind = ("search", str(model))
        chunks = self._batcher.run(range, find, len(queries), call, kind=kind)
        found = [rows for chunk in chunks for rows in chunk]
        pages = [rows[start:end] for rows in found]
        rows = np.array([row for page in pages for row in page], dtype=np.int64)
        token = ""
        if len(queries) == 1 and len(found[0]) == end < _DEEPEST:
            token = next_token(end, f"{model}:{queries[0]}")
        call.queries, call.failed = len(queries), len(resolved.errors)
        return vocabulary_pb2.SearchEntitiesResponse(
            model=version_of(model),
            codes=codes_of(resolved),
            errors=pack_errors(resolved, call.id),
            offsets=[0, *np.cumsum([len(page) for page in pages]).tolist()],
            rows=rows.tolist(),
            ids=model.entities.ids.take(rows),
            labels=model.entities.labels.take(rows),
            next_page_token=token,
        )

    def _find(
        self, model: Model, place: int, text: str, count: int, resolved: Resolved
    ) -> list[int]:
        """Up to ``count`` rows for one query; a failure is added to ``resolved``."""
        most = Limits.MAX_SEARCH_CHARACTERS
        if not 1 <= len(text) <= most:
            expected, field = f"1 to {most} characters", f"queries[{place}]"
            resolved.errors[place] = InvalidArgument(field, expected, f"{len(text)} characters")
            return []
        return model.search(text, min(count, _DEEPEST))

    def list_relations(
        self, request: vocabulary_pb2.ListRelationsRequest, call: Call
    ) -> vocabulary_pb2.ListRelationsResponse:
        """Relations by ascending id."""
        model = self._pick(request, call)
        names = model.bundle.vocabulary.relations
        size = read_page_size(request.page_size, _PAGE)
        start = min(read_token(request.page_token, str(model)), len(names))
        rows = np.arange(start, min(start + size, len(names)))
        more = start + size < len(names)
        return vocabulary_pb2.ListRelationsResponse(
            model=version_of(model),
            rows=rows.tolist(),
            ids=names.ids.take(rows),
            labels=names.labels.take(rows),
            next_page_token=next_token(start + size, str(model)) if more else "",
        )

    def get_entity(
        self, request: vocabulary_pb2.GetEntityRequest, call: Call
    ) -> vocabulary_pb2.GetEntityResponse:
        """Names, types and numbers of known facts of one entity."""
        model = self._pick(request, call)
        row = _one_row(model.resolver.entities, "entity", request.entity)
        known = model.engine.amendments.known
        return vocabulary_pb2.GetEntityResponse(
            model=version_of(model),
            row=row,
            id=model.entities.ids.take(np.array([row]))[0],
            label=model.entities.labels.take(np.array([row]))[0],
            description=own_description(model, row),
            types=own_types(model, row, call),
            facts=[] if known is None else fact_counts(model, known, row),
            known_facts=_UNAVAILABLE if known is None else _MARKED,
        )

    def list_facts(
        self, request: vocabulary_pb2.ListFactsRequest, call: Call
    ) -> vocabulary_pb2.ListFactsResponse:
        """The other entities of an entity's known facts, by ascending row."""
        model = self._pick(request, call)
        known = model.engine.amendments.known
        if known is None:
            raise Unsupported("entity", "known facts")
        row = _one_row(model.resolver.entities, "entity", request.entity)
        relation = _one_row(model.resolver.relations, "relation", request.relation)
        side = request.side or vocabulary_pb2.ENTITY_SIDE_HEAD
        if side not in vocabulary_pb2.EntitySide.values():
            raise InvalidArgument("side", "a value of mulde.v1.EntitySide", side)
        back = side == vocabulary_pb2.ENTITY_SIDE_TAIL
        asked = np.array([relation + back * model.engine.num_relations])
        _, others = known.of_many(np.array([row]), asked)
        names, key = model.entities, f"{model}:{row}:{relation}:{back}"
        size = read_page_size(request.page_size, _PAGE)
        start = min(read_token(request.page_token, key), len(others))
        rows = others[start : start + size]
        more = start + size < len(others)
        return vocabulary_pb2.ListFactsResponse(
            model=version_of(model),
            rows=rows.tolist(),
            ids=names.ids.take(rows),
            labels=names.labels.take(rows),
            total=len(others),
            next_page_token=next_token(start + size, key) if more else "",
        )

    def get_map(
        self, request: vocabulary_pb2.GetMapRequest, call: Call
    ) -> vocabulary_pb2.GetMapResponse:
        """Places of entities by ascending row."""
        model = self._pick(request, call)
        drawn = model.bundle.map
        if drawn is None:
            raise Unsupported("model", "a map; mulde map adds one")
        call.enter_bulk()
        most = min(_MAP_DEEPEST, self._limits.max_message_bytes // _MAP_BYTES)
        size = min(read_page_size(request.page_size, _MAP_PAGE, _MAP_DEEPEST), max(1, most))
        start = min(read_token(request.page_token, f"{model}:map"), drawn.num_entities)
        rows = np.arange(start, min(start + size, drawn.num_entities))
        more, names = start + size < drawn.num_entities, model.bundle.vocabulary.entities
        return vocabulary_pb2.GetMapResponse(
            model=version_of(model),
            first_row=start,
            total=drawn.num_entities,
            x=drawn.x[rows].tolist(),
            y=drawn.y[rows].tolist(),
            groups=drawn.groups[rows].tolist(),
            weights=drawn.weights[rows].tolist(),
            ids=names.ids.take(rows),
            labels=names.labels.take(rows),
            group_names=list(drawn.group_names),
            variance=drawn.variance,
            correlation=drawn.correlation,
            next_page_token=next_token(start + size, f"{model}:map") if more else "",
        )

    def _pick(self, request: _Request, call: Call) -> Model:
        model = self._models.get(request.model)
        call.model = str(model)
        return model


def _one_row(find: Callable[[str, Sequence[str], Resolved], Rows], field: str, name: str) -> int:
    """The row of one name.

    Raises:
        InvalidArgument, UnknownName, AmbiguousLabel: naming the field.
    """
    resolved = Resolved(1)
    row = int(find(field, [name], resolved)[0])
    if resolved.errors:
        raise resolved.errors[0]
    return row

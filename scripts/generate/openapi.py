"""Generate ``serving/gateway/openapi.json`` from the comments and fields of ``protos/mulde/v1``.

Usage: ``python scripts/generate/openapi.py``; a test compares the file with what this writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor

from mulde import __version__
from scripts.generate.api_docs import describe
from serving.gateway.contract import JsonField, Method, fields_of, methods
from serving.gateway.streams import MEDIA_TYPE as LINES
from serving.gateway.streams import can_stream

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "serving" / "gateway" / "openapi.json"
Schema = dict[str, Any]

_STATUS = "google.rpc.Status"
_MESSAGE, _ENUM, _SERVICE, _INSIDE = 4, 5, 6, 2
_NAMES = ("heads", "relations", "tails", "entities")
_LIMITS: dict[str, Schema] = {
    "PredictOptions.k": {"minimum": 1, "maximum": 1000},
    "PredictOptions.probability_threshold": {"minimum": 0, "maximum": 1},
    "SimilarEntitiesRequest.k": {"minimum": 1, "maximum": 1000},
    "ScoreTriplesRequest.base_rate": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "SearchEntitiesRequest.page_size": {"minimum": 0},
    "SearchEntitiesRequest.queries": {"minItems": 1, "maxItems": 1024},
    "ListRelationsRequest.page_size": {"minimum": 0},
    "ListModelsRequest.page_size": {"minimum": 0},
    "ListFactsRequest.page_size": {"minimum": 0},
    "GetMapRequest.page_size": {"minimum": 0},
}
"""Default limits that the contract states in words."""

_REQUIRED = {
    "LoadModelRequest": ["name"],
    "UnloadModelRequest": ["name"],
    "SearchEntitiesRequest": ["queries"],
    "GetEntityRequest": ["entity"],
    "ListFactsRequest": ["entity", "relation"],
}
_PLAIN: dict[str, Schema] = {
    "string": {"type": "string"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
    "bool": {"type": "boolean"},
    "number": {"type": "number"},
}


def comments() -> dict[str, str]:
    """What the contract says of each message, field, enum value and method, by its name."""
    found: dict[str, str] = {}
    for file in describe().values():
        lines = {
            tuple(place.path): " ".join(place.leading_comments.split())
            for place in file.source_code_info.location
        }
        tables: tuple[tuple[int, Any, str], ...] = (
            (_MESSAGE, file.message_type, "field"),
            (_ENUM, file.enum_type, "value"),
            (_SERVICE, file.service, "method"),
        )
        for number, things, inside in tables:
            for place, thing in enumerate(things):
                found[thing.name] = lines.get((number, place), "")
                for below, part in enumerate(getattr(thing, inside)):
                    text = lines.get((number, place, _INSIDE, below), "")
                    found[f"{thing.name}.{part.name}"] = text
                    if inside == "method":
                        found[part.name] = text
    return found


class Schemas:
    """The schemas of messages, each once."""

    def __init__(self) -> None:
        """Begin with that of a problem."""
        self.comments = comments()
        self.known: dict[str, Schema] = {"Problem": _problem()}

    def message(self, message: Descriptor, *, sent: bool) -> Schema:
        """A reference to the schema of a message; ``sent`` by callers, or by the gateway."""
        if message.full_name == _STATUS:
            return {"$ref": "#/components/schemas/Problem"}
        if message.name not in self.known:
            self.known[message.name] = {}  # a message may hold itself
            self.known[message.name] = self._object(message, sent)
        return {"$ref": f"#/components/schemas/{message.name}"}

    def _object(self, message: Descriptor, sent: bool) -> Schema:
        fields = fields_of(message)
        schema: Schema = {
            "type": "object",
            "description": self.comments.get(message.name, ""),
            "properties": {
                name: self.field(message, field, sent=sent) for name, field in fields.items()
            },
        }
        if sent:
            schema["additionalProperties"] = False
            needed = _REQUIRED.get(message.name, [])
            needed = needed or [name for name in _NAMES if name in fields]
        else:
            needed = [name for name, field in fields.items() if _is_always_there(field)]
        if needed:
            schema["required"] = needed
        return schema

    def field(self, message: Descriptor, field: JsonField, *, sent: bool) -> Schema:
        """The schema of a field."""
        if field.message is not None:
            schema = self.message(field.message, sent=sent)
        elif field.kind == "enum":
            schema = {"type": "string", "enum": list(field.values)}
        elif field.kind == "whole":
            schema = {"type": "integer", "minimum": field.least, "maximum": field.most}
        else:
            schema = dict(_PLAIN[field.kind])
        if field.repeated:
            schema = {"type": "array", "items": schema}
            if sent and field.name in _NAMES:
                schema |= {"minItems": 1, "maxItems": 1024}
        if sent:
            schema |= _LIMITS.get(f"{message.name}.{field.name}", {})
        text = self.comments.get(f"{message.name}.{field.name}", "")
        return schema | ({"description": text} if text else {})


def _is_always_there(field: JsonField) -> bool:
    return field.repeated or (not field.optional and field.kind != "message")


def _problem() -> Schema:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "Why a call, or one query of it, failed (RFC 9457).",
        "properties": {
            "type": text | {"description": "urn:mulde:problem: and the reason."},
            "title": text,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": text | {"description": "Expected, found, where."},
            "code": text | {"description": "google.rpc.Code."},
            "reason": text | {"description": "Name of the error, such as UNKNOWN_ENTITY."},
            "field": text | {"description": "Which field of the request."},
            "name": text | {"description": "The name that is unknown or ambiguous."},
            "choices": {
                "type": "array",
                "items": text,
                "description": "Nearest spellings, or the ids that share the label.",
            },
        },
        "required": ["type", "title", "status", "detail", "code", "reason"],
    }


def _operation(method: Method, schemas: Schemas) -> Schema:
    answer = schemas.message(method.response.DESCRIPTOR, sent=False)
    content: Schema = {"application/json": {"schema": answer}}
    if can_stream(method):
        lines = "One JSON object a line: for each query, or for each element of all pages."
        content[LINES] = {"schema": {"type": "string", "description": lines}}
    operation: Schema = {
        "operationId": method.name,
        "summary": schemas.comments[method.name].partition(". ")[0].rstrip("."),
        "description": schemas.comments[method.name],
        "tags": [method.full_name.split("/")[1].rpartition(".")[2]],
        "responses": {
            "200": {"description": "The answer.", "content": content},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    request = method.request.DESCRIPTOR
    if method.verb == "GET":
        operation["parameters"] = _parameters(request, schemas, "")
    else:
        body = {"application/json": {"schema": schemas.message(request, sent=True)}}
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _parameters(message: Descriptor, schemas: Schemas, prefix: str) -> list[Schema]:
    """The fields of a request as parameters of an address; those of messages with dots."""
    found: list[Schema] = []
    for name, field in fields_of(message).items():
        if field.message is not None:
            found += _parameters(field.message, schemas, f"{prefix}{name}.")
            continue
        schema = schemas.field(message, field, sent=True)
        text = schema.pop("description", "")
        parameter = {"name": prefix + name, "in": "query", "description": text, "schema": schema}
        if name in _REQUIRED.get(message.name, []):
            parameter["required"] = True
        found.append(parameter)
    return found


def render() -> str:
    """The whole document."""
    schemas = Schemas()
    paths = {one.path: {one.verb.lower(): _operation(one, schemas)} for one in methods()}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    bearer = {"type": "http", "scheme": "bearer"}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "mulde",
            "version": __version__,
            "description": "Link prediction: the calls of mulde.v1 as JSON. "
            "Generated by scripts/generate/openapi.py from protos/mulde/v1.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.known,
            "responses": {
                "Problem": {"description": "Why the call failed.", "content": problem},
            },
            "securitySchemes": {"bearer": bearer},
        },
    }
    return json.dumps(document, indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), "utf-8")

"""Generate ``docs/reference/api.md`` from the comments in ``protos/mulde/v1``.

Usage: ``python scripts/generate/api_docs.py``
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import google.rpc
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "reference" / "api.md"
ORDER = ("prediction", "vocabulary", "facts", "model", "common")
HEADER = """# The API, mulde.v1

Generated from the comments in `protos/mulde/v1` by `scripts/generate/api_docs.py`; change them
there.

Also on the port: `grpc.health.v1.Health` (service "" and each service below; `SERVING` once models
are loaded, `NOT_SERVING` while loading and draining) and reflection (`grpc.reflection.v1alpha`).
"""
ERRORS = """
## Errors

| code | when |
|---|---|
| `INVALID_ARGUMENT` | a field is outside its limits, a label is ambiguous, bytes are no message |
| `NOT_FOUND` | no entity, relation, type or model has that name; nearest spellings are told |
| `FAILED_PRECONDITION` | the model was exported without that; a bundle cannot be loaded |
| `RESOURCE_EXHAUSTED` | too many calls or waiting queries, or too large a message |
| `DEADLINE_EXCEEDED` | the caller's deadline passed; the work was dropped |
| `UNAUTHENTICATED` | a token is needed, and none or a wrong one was sent |
| `PERMISSION_DENIED` | the call needs the admin role |
| `UNAVAILABLE` | the server is loading or shutting down; try again |
| `INTERNAL` | a fault of the server; its log explains the request id |

Details: `google.rpc.ErrorInfo` (domain `mulde`; the reason is the error's name, such as
`UNKNOWN_ENTITY`), `google.rpc.BadRequest` (the field), `mulde.v1.NameProblem` (nearest spellings,
or ids that share the label). Every call may carry a request id in the metadata `x-request-id`; it
comes back in the trailing metadata and stands in the server's log.
"""

_SCALARS = {
    value: name.removeprefix("TYPE_").lower() for name, value in FieldDescriptorProto.Type.items()
}
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_FIELD, _VALUE, _METHOD = 2, 2, 2


class Page:
    """One proto file as Markdown."""

    def __init__(self, file: FileDescriptorProto) -> None:
        """Remember the file and the comment of each place in it."""
        self._file = file
        self._comments = {
            tuple(location.path): " ".join(location.leading_comments.split())
            for location in file.source_code_info.location
            if location.leading_comments
        }

    def services(self) -> Iterator[str]:
        """Each service with its methods."""
        for place, service in enumerate(self._file.service):
            yield from self._service(service, (_SERVICE, place))

    def _service(self, service: ServiceDescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"\n## {service.name}\n\n{self._comment(path, service.name)}\n"
        yield "| method | answers |\n|---|---|"
        for place, method in enumerate(service.method):
            comment = self._comment((*path, _METHOD, place), method.name)
            yield f"| [{method.name}](#{method.name.lower()}request) | {comment} |"

    def types(self) -> Iterator[str]:
        """Each message and enum."""
        for place, message in enumerate(self._file.message_type):
            yield from self._message(message, (_MESSAGE, place))
        for place, enum in enumerate(self._file.enum_type):
            yield from self._enum(enum, (_ENUM, place))

    def _message(self, message: DescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"\n### {message.name}\n\n{self._comment(path, message.name)}\n"
        yield "| field | type | meaning |\n|---|---|---|"
        for place, field in enumerate(message.field):
            comment = self._comment((*path, _FIELD, place), field.name)
            yield f"| `{field.name}` = {field.number} | {_type(field)} | {comment} |"

    def _enum(self, enum: EnumDescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"\n### {enum.name}\n\n{self._comment(path, enum.name)}\n"
        yield "| value | meaning |\n|---|---|"
        for place, value in enumerate(enum.value):
            comment = self._comment((*path, _VALUE, place), value.name)
            yield f"| `{value.name}` = {value.number} | {comment} |"

    def _comment(self, path: Sequence[int], name: str) -> str:
        comment = self._comments.get(tuple(path))
        if comment is None:
            raise SystemExit(f"{self._file.name}: {name} has no comment")
        return comment.replace("|", "\\|").replace("<", "&lt;")


def _type(field: FieldDescriptorProto) -> str:
    """Such as "repeated string", or a link to a message of ours."""
    name = _SCALARS[field.type]
    if field.type_name:
        name = field.type_name.removeprefix(".")
        if name.startswith("mulde.v1."):
            short = name.removeprefix("mulde.v1.")
            name = f"[{short}](#{short.lower()})"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name


def describe() -> dict[str, FileDescriptorProto]:
    """The protos, compiled with their comments: name without folder and suffix -> file."""
    includes = [
        ROOT / "protos",
        Path(next(iter(google.rpc.__path__))).parent.parent,
        Path(protoc.__file__).parent / "_proto",
    ]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "set")
        command = ["protoc", *(f"-I{path}" for path in includes), "--include_source_info"]
        names = [f"mulde/v1/{name}.proto" for name in ORDER]
        if protoc.main([*command, f"--descriptor_set_out={target}", *names]) != 0:
            raise SystemExit("protoc refuses the protos")
        files = FileDescriptorSet.FromString(target.read_bytes()).file
    return {Path(file.name).stem: file for file in files}


def render() -> str:
    """The whole page."""
    files = describe()
    pages = [Page(files[name]) for name in ORDER]
    lines = [HEADER.strip()]
    lines += [line for page in pages for line in page.services()]
    lines.append(ERRORS.rstrip())
    lines.append("\n## Messages")
    lines += [line for page in pages for line in page.types()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), "utf-8")

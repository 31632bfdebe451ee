"""The contract as the gateway needs it: methods with their paths, messages with their fields.

Everything is read from the descriptors of ``mulde.v1``, so that a call, a field or an enum value of
the contract is in the gateway without a line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from google.protobuf.message_factory import GetMessageClass

from mulde.v1 import facts_pb2, model_pb2, prediction_pb2, vocabulary_pb2

_FILES = (prediction_pb2, vocabulary_pb2, model_pb2, facts_pb2)
_READ_BY_GET = ("Get", "List", "Search")
PREFIX = "/v1/"

_WHOLE = {
    FieldDescriptorProto.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptorProto.TYPE_SINT32: (-(2**31), 2**31 - 1),
    FieldDescriptorProto.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptorProto.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptorProto.TYPE_UINT64: (0, 2**64 - 1),
}
_OTHER = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_DOUBLE: "number",
    FieldDescriptorProto.TYPE_FLOAT: "number",
    FieldDescriptorProto.TYPE_ENUM: "enum",
    FieldDescriptorProto.TYPE_MESSAGE: "message",
}


@dataclass(frozen=True)
class JsonField:
    """One field of a message as JSON has it.

    Attributes:
        name: as in the contract.
        kind: "string", "bytes", "bool", "number", "whole", "enum" or "message".
        repeated: whether it is a list.
        optional: whether absence differs from the default.
        least, most: of a whole number.
        values: of an enum, name -> number.
        message: descriptor of a message.
    """

    name: str
    kind: str
    repeated: bool
    optional: bool
    least: int
    most: int
    values: dict[str, int]
    message: Descriptor | None


@dataclass(frozen=True)
class Method:
    """One call of the contract.

    Attributes:
        name: such as "PredictTails".
        full_name: path of the gRPC call.
        verb: GET for calls whose name begins with Get, List or Search, else POST.
        request, response: classes of the messages.
    """

    name: str
    full_name: str
    verb: str
    request: Any
    response: Any

    @property
    def path(self) -> str:
        """Path at the gateway."""
        return PREFIX + self.name


def methods() -> list[Method]:
    """Every call of the contract, in its order."""
    services = (service for file in _FILES for service in _services(file))
    return [_method(method) for service in services for method in service.methods]


def _services(file: Any) -> list[Any]:
    return list(file.DESCRIPTOR.services_by_name.values())


def _method(method: MethodDescriptor) -> Method:
    return Method(
        method.name,
        f"/{method.containing_service.full_name}/{method.name}",
        "GET" if method.name.startswith(_READ_BY_GET) else "POST",
        GetMessageClass(method.input_type),
        GetMessageClass(method.output_type),
    )


@cache
def fields_of(message: Descriptor) -> dict[str, JsonField]:
    """The fields of a message by name, in the order of the contract."""
    proto = DescriptorProto()
    message.CopyToProto(proto)
    return {field.name: _field(message, field) for field in proto.field}


def _field(message: Descriptor, proto: FieldDescriptorProto) -> JsonField:
    described = message.fields_by_name[proto.name]
    least, most = _WHOLE.get(proto.type, (0, 0))
    enum = described.enum_type
    return JsonField(
        proto.name,
        _OTHER.get(proto.type, "whole"),
        proto.label == FieldDescriptorProto.LABEL_REPEATED,
        proto.proto3_optional,
        least,
        most,
        {} if enum is None else {value.name: value.number for value in enum.values},
        described.message_type,
    )

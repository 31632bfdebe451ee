"""The contract, its stubs and its documentation say the same."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from mulde.v1 import common_pb2, facts_pb2, model_pb2, prediction_pb2, vocabulary_pb2
from scripts.generate import api_docs
from serving.rpc.methods import SERVICES

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "common": common_pb2,
    "prediction": prediction_pb2,
    "vocabulary": vocabulary_pb2,
    "facts": facts_pb2,
    "model": model_pb2,
}


@pytest.fixture(scope="module")
def protos() -> dict[str, FileDescriptorProto]:
    return api_docs.describe()


def bare(file: FileDescriptorProto) -> FileDescriptorProto:
    """A file without what a stub does not keep: comments, and names derived from names."""
    copy = FileDescriptorProto()
    copy.CopyFrom(file)
    copy.ClearField("source_code_info")
    for message in copy.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return copy


@pytest.mark.parametrize("name", FILES)
def test_stubs_are_those_of_the_protos(protos: dict[str, FileDescriptorProto], name: str) -> None:
    """If this fails: python scripts/generate/stubs.py."""
    stub = FileDescriptorProto.FromString(FILES[name].DESCRIPTOR.serialized_pb)
    assert bare(stub) == bare(protos[name])


@pytest.mark.parametrize("name", FILES)
def test_type_stubs_know_every_message_and_field(
    protos: dict[str, FileDescriptorProto], name: str
) -> None:
    tree = ast.parse((ROOT / "mulde" / "v1" / f"{name}_pb2.pyi").read_text("utf-8"))
    classes = {
        node.name: {
            line.target.id
            for line in node.body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        }
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    for message in protos[name].message_type:
        assert {field.name for field in message.field} <= classes[message.name]
    for enum in protos[name].enum_type:
        assert {value.name for value in enum.value} <= classes[enum.name]


def test_service_stubs_call_every_method(protos: dict[str, FileDescriptorProto]) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.paths: set[str] = set()

        def unary_unary(self, path: str, **_: object) -> None:
            self.paths.add(path)

    for name, file in protos.items():
        for service in file.service:
            module = importlib.import_module(f"mulde.v1.{name}_pb2_grpc")
            recorder = Recorder()
            getattr(module, f"{service.name}Stub")(recorder)
            methods = {f"/mulde.v1.{service.name}/{method.name}" for method in service.method}
            assert recorder.paths == methods


def test_the_server_has_every_service(protos: dict[str, FileDescriptorProto]) -> None:
    wanted = {f"mulde.v1.{service.name}" for file in protos.values() for service in file.service}
    assert {service.full_name for service in SERVICES} == wanted


def test_documentation_is_that_of_the_protos() -> None:
    """If this fails: python scripts/generate/api_docs.py. A missing comment fails it too."""
    assert (ROOT / "docs" / "reference" / "api.md").read_text("utf-8") == api_docs.render()


def test_each_call_has_its_own_request_and_response(
    protos: dict[str, FileDescriptorProto],
) -> None:
    for file in protos.values():
        for service in file.service:
            assert service.name.endswith("Service")
            for method in service.method:
                assert method.input_type == f".mulde.v1.{method.name}Request"
                assert method.output_type == f".mulde.v1.{method.name}Response"


def test_enums_begin_unspecified_and_carry_their_name(
    protos: dict[str, FileDescriptorProto],
) -> None:
    for file in protos.values():
        for enum in file.enum_type:
            prefix = "".join(f"_{c}" if c.isupper() else c for c in enum.name)[1:].upper()
            assert (enum.value[0].name, enum.value[0].number) == (f"{prefix}_UNSPECIFIED", 0)
            assert all(value.name.startswith(f"{prefix}_") for value in enum.value)


def test_field_numbers_leave_no_gap(protos: dict[str, FileDescriptorProto]) -> None:
    def numbers(message: DescriptorProto) -> list[int]:
        return [field.number for field in message.field]

    for file in protos.values():
        for message in file.message_type:
            assert numbers(message) == list(range(1, len(message.field) + 1))

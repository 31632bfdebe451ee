"""Every grpcurl line of the documentation, run against real servers.

grpcurl itself is not on every machine, so its lines are read here and done through the server's
reflection, as grpcurl does them: nothing of the committed stubs is used.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from mulde.bundle.entities.label_search import SearchIndex
from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.bundle.files import SEARCH, TYPES, VOCABULARY
from tests.serving.resealing import reseal
from tests.serving.test_server_models import ADMIN, tokens
from tests.support.certificates import Authority
from tests.support.server import ServerProcess, server
from tests.support.toy import toy_bundle

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FILLERS = 20


@dataclass(frozen=True)
class Line:
    """A grpcurl command."""

    where: str
    plaintext: bool
    ca: str
    headers: tuple[str, ...]
    data: dict[str, Any]
    rest: tuple[str, ...]


def read_lines() -> list[Line]:
    lines = []
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))
        commands = [line for line in text.splitlines() if line.lstrip("$ ").startswith("grpcurl ")]
        for number, command in enumerate(commands):
            lines.append(parse(f"{page.name}-{number}", command.lstrip("$ ")))
    return lines


def parse(where: str, command: str) -> Line:
    words = iter(shlex.split(command)[1:])
    plaintext, ca, headers, data, rest = False, "", [], "{}", []
    for word in words:
        if word == "-plaintext":
            plaintext = True
        elif word == "-cacert":
            ca = next(words)
        elif word == "-H":
            headers.append(next(words))
        elif word == "-d":
            data = next(words)
        elif word.startswith("-"):
            raise ValueError(f"{where}: this test does not know {word}")
        else:
            rest.append(word)
    return Line(where, plaintext, ca, tuple(headers), json.loads(data), tuple(rest))


LINES = read_lines()


def names(kind: str) -> set[str]:
    """Entities or relations that the lines speak of."""
    fields = ("relations",) if kind == "relations" else ("heads", "tails", "entities")
    return {name for line in LINES for field in fields for name in line.data.get(field, [])}


def named_bundle(path: Path) -> None:
    """A bundle whose entities and relations are called as in the documentation."""
    entities = sorted(names("entities") | {f"filler.n.{i:02d}" for i in range(FILLERS)})
    relations = sorted(names("relations") | {f"filler_{i}" for i in range(FILLERS)})
    toy_bundle(path, entities=len(entities), relations=len(relations), name=path.parent.name)
    vocabulary = Vocabulary.build(entities, entities, relations, relations)
    for name in (VOCABULARY, SEARCH, TYPES):
        (path / name).unlink()
    vocabulary.write(path / VOCABULARY)
    SearchIndex.build(vocabulary.entities.labels).write(path / SEARCH)
    reseal(path)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    (root / "wordnet-32").mkdir()
    named_bundle(root / "wordnet-32" / "1")
    return root


@pytest.fixture(scope="module")
def plain(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, Path]]:
    folder = tmp_path_factory.mktemp("plain")
    with server(repository, log=folder / "log") as process:
        yield process, folder


@pytest.fixture(scope="module")
def secure(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, Path]]:
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder, "ca")
    pair = authority.issue("server")
    flags = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key)]
    flags += ["--api-key-file", str(tokens(folder))]
    with server(repository, *flags, log=folder / "log") as process:
        yield process, folder


def run(line: Line, channel: grpc.Channel) -> Any:
    """What grpcurl does: describe by reflection, convert from JSON, call, convert to JSON."""
    database = ProtoReflectionDescriptorDatabase(channel)
    verb, *more = line.rest[1:]
    if verb == "list":
        return list(database.get_services())
    pool = DescriptorPool(database)
    if verb == "describe":
        return pool.FindServiceByName(more[0]).full_name
    service, _, name = verb.rpartition("/")
    method = pool.FindServiceByName(service).FindMethodByName(name)
    request = json_format.ParseDict(line.data, GetMessageClass(method.input_type)())
    call = channel.unary_unary(
        f"/{service}/{name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    headers = [header.replace("$MULDE_TOKEN", ADMIN).split(": ", 1) for header in line.headers]
    reply = call(request, metadata=tuple((key.lower(), value) for key, value in headers))
    return json_format.MessageToDict(reply, descriptor_pool=pool)


def test_the_documentation_has_lines() -> None:
    assert len(LINES) >= 9
    assert any(not line.plaintext for line in LINES)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.where)
def test_a_documented_line_works(
    line: Line,
    plain: tuple[ServerProcess, Path],
    secure: tuple[ServerProcess, Path],
) -> None:
    process, folder = plain if line.plaintext else secure
    if line.plaintext:
        channel = grpc.insecure_channel(process.address)
    else:
        credentials = grpc.ssl_channel_credentials((folder / line.ca).read_bytes())
        channel = grpc.secure_channel(process.address, credentials)
    with channel:
        reply = run(line, channel)
    assert reply
    answers = reply.get("answers", {}) if isinstance(reply, dict) else {}
    assert "errors" not in answers

"""The methods of the server as functions of the bytes of a request; no port between.

Everything runs but the wire: decoding, limits, names, engine, packing and the table of codes. Only
gRPC's own context is stood in for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from mulde.v1 import common_pb2, model_pb2, prediction_pb2, vocabulary_pb2
from serving.process.access.auth import AuthInterceptor
from serving.process.monitoring.logs import open_log
from serving.process.settings import LogSettings
from serving.registry.batcher import Batcher
from serving.registry.manager import LocalModels, ModelManager
from serving.registry.model import Tuning
from serving.registry.registry import Registry
from serving.registry.repository import Repository
from serving.rpc.admission import AdmissionController
from serving.rpc.handlers import Call, Services
from serving.rpc.methods import all_methods
from serving.rpc.request import Limits
from tests.fuzz.readers import TryBytes

LIMITS = Limits(max_batch_size=64, max_k=20, max_name_bytes=64, max_filter_names=200)
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
}


class Context:
    """What a call of gRPC offers, as far as it is used: records how the call ended."""

    def __init__(self) -> None:
        self.code, self.details = grpc.StatusCode.OK, ""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> None:
        return None

    def is_active(self) -> bool:
        return True

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return False  # the call has ended: no response waits

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        assert sum(len(key) + len(value) for key, value in metadata) <= 8192


class Unforgiving:
    """Hands on the error that a server would only write down."""

    def ended(self, method: str, code: grpc.StatusCode, call: Call, seconds: float) -> None:
        """Nothing to do."""

    def failed(self, method: str, call: Call, error: BaseException) -> None:
        raise error


class Details(NamedTuple):
    """What gRPC says of a call before its message is there."""

    method: str


def methods(bundle: Path) -> list[tuple[Callable[[bytes, Any], bytes], type[Message]]]:
    """Each method of the contract over a bundle, and what it answers with."""
    registry = Registry(Tuning(max_name_bytes=LIMITS.max_name_bytes))
    manager = ModelManager(Repository(bundle), LocalModels(registry.apply))
    manager.start()
    admission = AdmissionController(64, 16, 1 << 30)
    batcher = Batcher(max_batch=LIMITS.max_batch_size)
    runs = all_methods(registry, batcher, LIMITS, manager)
    services = Services(
        runs, admission, AuthInterceptor(None, open_log(LogSettings()), 60).of, Unforgiving()
    )
    found = []
    for method in runs:
        path = f"/{method.containing_service.full_name}/{method.name}"
        details: Any = Details(path)
        handler: Any = services.service(details)
        found.append((_unary(handler.stream_unary), GetMessageClass(method.output_type)))
    return found


def _unary(answer: Callable[[Iterator[bytes], Any], bytes]) -> Callable[[bytes, Any], bytes]:
    return lambda data, context: answer(iter([data]), context)


def requests(bundle: Path, scratch: Path) -> TryBytes:
    """A request: its first byte chooses the method, the others are the message."""
    known = methods(bundle)

    def try_bytes(data: bytes) -> bool:
        answer_to, answer_class = known[data[0] % len(known) if data else 0]
        context: Any = Context()
        answer = answer_to(data[1:], context)
        if context.code is not grpc.StatusCode.OK:
            assert context.code in REFUSALS, (context.code, context.details)
            return False
        assert all(np.isfinite(number) for number in numbers_of(answer_class.FromString(answer)))
        return True

    return try_bytes


def numbers_of(message: Message) -> Iterator[float]:
    """All floating-point numbers of a message, also those within others."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            yield from values
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field):
            for part in values:
                yield from numbers_of(part)


def _is_map(field: FieldDescriptor) -> bool:
    assert field.message_type is not None
    return bool(field.message_type.GetOptions().map_entry)


def seeds() -> list[bytes]:
    """A whole question for each method, in the order of the contract."""
    who = common_pb2.ModelSelector(name="golden", version="1")
    sieve = common_pb2.CandidateFilter(
        allow={"names": ["Q0000001", "Q0000002"]}, types={"names": ["tail:P0"]}
    )
    options = prediction_pb2.PredictOptions(
        k=2, exclude_known=True, score_threshold=-5.0, exact=True, view="NAME_VIEW_ID_AND_LABEL"
    )
    pair: dict[str, Any] = {"heads": ["Q0000001", "thing 2"], "tails": ["Q0000003", "nobody"]}
    asked: list[Message | None] = [
        prediction_pb2.PredictTailsRequest(
            model=who, heads=pair["heads"], relations=["P0", "P1"], filter=sieve, options=options
        ),
        prediction_pb2.PredictHeadsRequest(relations=["P1"] * 2, tails=pair["tails"]),
        prediction_pb2.PredictRelationsRequest(**pair, options=options),
        prediction_pb2.ScoreTriplesRequest(**pair, relations=["P0", "P1"], ranks=True),
        prediction_pb2.ExplainRequest(**pair, relations=["P0", "P1"], paths=2),
        prediction_pb2.SimilarEntitiesRequest(entities=["Q0000001"], k=3, view="NAME_VIEW_ID"),
        vocabulary_pb2.SearchEntitiesRequest(queries=["thign 2"], page_size=5),
        vocabulary_pb2.ListRelationsRequest(page_size=2),
        vocabulary_pb2.GetEntityRequest(entity="thing 2"),
        vocabulary_pb2.ListFactsRequest(entity="thing 2", relation="P0", page_size=1),
        None,  # GetMap: the golden bundle has no map
        model_pb2.ListModelsRequest(page_size=1),
        model_pb2.GetModelRequest(model=who),
    ]
    return [
        bytes([place]) + message.SerializeToString()
        for place, message in enumerate(asked)
        if message is not None
    ]

"""Around every call: decode, authorise, run, translate errors, count, encode.

This file has the only table of status codes. Below it nothing knows gRPC; above it nothing knows
mulde's errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from time import monotonic, perf_counter
from typing import Any, Protocol, TypeVar, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from mulde import errors
from mulde.v1 import common_pb2
from serving.rpc.load_shedding import Door, Entrance, Refuse
from serving.rpc.response_budget import Outbox
from serving.rpc.truncation import cut, fitting

CODES: dict[type[errors.MuldeError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.AmbiguousLabel: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnknownName: grpc.StatusCode.NOT_FOUND,
    errors.UnknownModel: grpc.StatusCode.NOT_FOUND,
    errors.Unsupported: grpc.StatusCode.FAILED_PRECONDITION,
    errors.BundleError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unreachable: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ChangeTimedOut: grpc.StatusCode.ABORTED,
    errors.Starting: grpc.StatusCode.UNAVAILABLE,
    errors.Draining: grpc.StatusCode.UNAVAILABLE,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
}
"""The code of each error, or of the nearest class above it; what is not here is INTERNAL."""

DOMAIN = "mulde"
# Request ids need to differ, not to be secret; the system's own source may take 50 microseconds.
_random = Random()
REQUEST_ID = "x-request-id"
_DETAILS = "grpc-status-details-bin"
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class Call:
    """One call as the code below this file sees it.

    Attributes:
        id: request id, the caller's own or a fresh one.
        deadline: ``time.monotonic`` at which the caller stops waiting; None for never.
        model: "name/version" that answers, for metrics and logs; set by whoever picks it.
        seconds: where the time went, by stage.
        queries: how many were asked.
    """

    __slots__ = ("_context", "deadline", "id", "model", "queries", "seconds")

    def __init__(self, context: grpc.ServicerContext, request_id: str) -> None:
        self._context = context
        self.id = request_id
        remaining = cast(float | None, context.time_remaining())
        self.deadline = None if remaining is None else monotonic() + remaining
        self.model = ""
        self.seconds: dict[str, float] = {}
        self.queries = 0

    def check(self) -> None:
        """Let work go on.

        Raises:
            DeadlineExceeded: if nobody waits for it any more.
        """
        if not self.is_wanted() or (self.deadline is not None and monotonic() >= self.deadline):
            raise errors.DeadlineExceeded

    def is_wanted(self) -> bool:
        """Whether the caller still waits: it neither cancelled nor ran out of time."""
        return bool(self._context.is_active())


Run = Callable[[Any, Call], Message]
M = TypeVar("M", bound=Message)


class Gate(Protocol):
    """Decides who may call what, and when."""

    def is_full(self, method: str) -> bool:
        """See ``entrance.Gate.is_full``."""

    @property
    def inside(self) -> int:
        """Calls that are being answered."""

    def check(self, method: str, metadata: dict[str, str | bytes]) -> None:
        """Let the call through.

        Raises:
            Unauthenticated: without a token that is known.
            Forbidden: where the token's role does not allow the method.
            Draining, Overloaded: where nobody may call now.
        """

    def leave(self, method: str) -> None:
        """The call that was let through has ended."""


class Observer(Protocol):
    """Hears of every call."""

    def arrived(self) -> None:
        """The message of the call that this thread answers is there."""

    def ended(self, method: str, code: grpc.StatusCode, call: Call, seconds: float) -> None:
        """Count it."""

    def failed(self, method: str, call: Call, error: BaseException) -> None:
        """An error of ours: record everything, for the caller hears only the request id."""


class Service:
    """The methods of one proto service, ready for a gRPC server."""

    def __init__(
        self, methods: dict[MethodDescriptor, Run], gate: Gate, observer: Observer, outbox: Outbox
    ) -> None:
        self._methods, self._gate, self._observer = methods, gate, observer
        self._outbox = outbox

    def entrance(self, name: str) -> Entrance:
        """What a gRPC server needs to know of the service of that full name."""
        doors = {
            f"/{name}/{method.name}": Door(
                method.full_name, self._behaviour(method, run), self._refusal(method.full_name)
            )
            for method, run in self._methods.items()
        }
        return Entrance(doors, self._gate)

    def _behaviour(
        self, method: MethodDescriptor, run: Run
    ) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        request_class = GetMessageClass(method.input_type)
        gate, observer, name = self._gate, self._observer, method.full_name
        outbox = self._outbox

        def behave(data: bytes, context: grpc.ServicerContext) -> bytes:
            start = perf_counter()
            observer.arrived()
            metadata = dict(context.invocation_metadata())
            call = Call(context, _request_id(metadata))
            code, reply = grpc.StatusCode.OK, b""
            try:
                gate.check(name, metadata)
                try:
                    reply = run(_decode(request_class, data), call).SerializeToString()
                finally:
                    gate.leave(name)
                outbox.put(len(reply), context)
                context.set_trailing_metadata(((REQUEST_ID, call.id),))
            except Exception as error:  # the last line of defence: the server stays up
                code = self._fail(name, call, context, error)
                _forget_frames(error)
            observer.ended(name, code, call, perf_counter() - start)
            return reply

        return behave

    def _refusal(self, name: str) -> Refuse:
        gate, observer = self._gate, self._observer

        def refuse(context: grpc.ServicerContext) -> None:
            start = perf_counter()
            call = Call(context, _request_id(dict(context.invocation_metadata())))
            _tell(context, call, *_refused(gate.inside))
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            observer.ended(name, code, call, perf_counter() - start)

        return refuse

    def _fail(
        self, name: str, call: Call, context: grpc.ServicerContext, error: Exception
    ) -> grpc.StatusCode:
        """Tell the caller of an error, and return its code."""
        status = status_of(error, call.id)
        code = _CODE_BY_NUMBER[status.code]
        if code is grpc.StatusCode.INTERNAL:
            self._observer.failed(name, call, error)
        _tell(context, call, status, status.SerializeToString())
        return code


@lru_cache(maxsize=4096)
def _refused(inside: int) -> tuple[status_pb2.Status, bytes]:
    """What a call is told that finds no room, and its bytes.

    Made once for each number of calls inside: what refusing costs is missing where answers are
    made.
    """
    status = status_of(errors.Overloaded(inside), "")
    return status, status.SerializeToString()


def _forget_frames(error: BaseException | None) -> None:
    """Take the frames from an error that was told, and from those it came of.

    A frame that holds the error that refers to it holds all its callers too, and with them the
    call, until garbage is collected, which is seldom (see ``server.calm_collector``). To gRPC the
    call has not ended till then, and a connection may have only so many.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def _tell(
    context: grpc.ServicerContext, call: Call, status: status_pb2.Status, packed: bytes
) -> None:
    """End a call with a status."""
    context.set_code(_CODE_BY_NUMBER[status.code])
    context.set_details(status.message)
    context.set_trailing_metadata(((REQUEST_ID, call.id), (_DETAILS, packed)))


_CODE_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def code_of(error: BaseException) -> grpc.StatusCode:
    """The code that an error becomes."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return grpc.StatusCode.INTERNAL


def status_of(error: BaseException, request_id: str) -> status_pb2.Status:
    """An error as google.rpc.Status: its code, its sentence and details for programs.

    An error that is none of the caller's says nothing but the id under which the log explains it.
    """
    code = code_of(error)
    status = status_pb2.Status(code=code.value[0], message=cut(str(error)))
    info = error_details_pb2.ErrorInfo(reason=_reason(error), domain=DOMAIN)
    if code is grpc.StatusCode.INTERNAL:
        status.message = f"internal error; the server's log explains request {request_id}"
        info.reason, info.metadata["request_id"] = "INTERNAL", request_id
    _attach(status, info)
    field = getattr(error, "field", "")
    if field and code is not grpc.StatusCode.INTERNAL:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=status.message
        )
        _attach(status, error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.UnknownName):
        _attach(status, _problem(error.name, error.nearest))
    if isinstance(error, errors.AmbiguousLabel):
        _attach(status, _problem(error.label, error.choices))
    return status


def _problem(name: str, choices: Sequence[str]) -> common_pb2.NameProblem:
    """What was asked for and might have been meant; without what is too long to travel."""
    return common_pb2.NameProblem(name="".join(fitting([name])), choices=fitting(choices[:20]))


def _attach(status: status_pb2.Status, detail: Message) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)


def _reason(error: BaseException) -> str:
    """UPPER_SNAKE name of the error's class."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()


def _decode(kind: type[M], data: bytes) -> M:
    """Parse a request.

    Raises:
        InvalidArgument: if the bytes are no such message, for instance hold invalid UTF-8.
    """
    try:
        return kind.FromString(data)
    except DecodeError:
        found = f"{len(data)} bytes that are none"
        expected = f"a {kind.DESCRIPTOR.full_name} with strings in UTF-8"
        raise errors.InvalidArgument("request", expected, found) from None


def _request_id(metadata: dict[str, str | bytes]) -> str:
    """The caller's request id where it is a harmless one, else a fresh one."""
    given = metadata.get(REQUEST_ID)
    if isinstance(given, str) and _REQUEST_ID_FORM.fullmatch(given):
        return given
    return f"{_random.getrandbits(64):016x}"

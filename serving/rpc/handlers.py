"""Around every call: admit, authorise, decode, run, encode, count; errors become statuses.

Below this file nothing knows gRPC. Calls are handled as streams of one message, which look the same
at the wire as unary calls: so a call is refused or authorised before its message is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from time import monotonic, perf_counter
from typing import Any, Protocol, TypeVar, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from mulde import errors
from serving.rpc.admission import AdmissionController
from serving.rpc.status import CODE_BY_NUMBER, refusal, status_of

REQUEST_ID = "x-request-id"
TRACEPARENT = "traceparent"
_LARGE_BYTES = 32 << 10
"""A larger message is a bulk request's: decoded it takes several times as much memory."""
_DETAILS = "grpc-status-details-bin"
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT_FORM = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# Request ids need to differ, not to be secret; the system's own source may take 50 microseconds.
_random = Random()

Metadata = Mapping[str, str | bytes]
M = TypeVar("M", bound=Message)


class Call:
    """One call as the code below this file sees it.

    Attributes:
        admission: what the call counts in.
        id: request id, the caller's own or a fresh one.
        trace: the caller's W3C ``traceparent``; empty without.
        token: which token the caller has; empty without tokens.
        deadline: ``time.monotonic`` at which the caller stops waiting; None for no end.
        model: "name/version" that answers, for metrics and logs.
        seconds: time by stage.
        queries: number of queries.
        failed: how many of them failed.
        reserved: bytes of the response that are counted in ``admission``.
        ranks: returns the ranks of a sample of added facts, before they were added; None for none.
    """

    __slots__ = (
        "admission",
        "context",
        "deadline",
        "failed",
        "id",
        "model",
        "queries",
        "ranks",
        "reserved",
        "seconds",
        "token",
        "trace",
    )

    def __init__(
        self, context: grpc.ServicerContext, metadata: Metadata, admission: AdmissionController
    ) -> None:
        self.context, self.admission = context, admission
        self.id = _request_id(metadata)
        trace = metadata.get(TRACEPARENT, "")
        self.trace = str(trace) if trace and _TRACEPARENT_FORM.fullmatch(str(trace)) else ""
        remaining = cast(float | None, context.time_remaining())
        self.deadline = None if remaining is None else monotonic() + remaining
        self.model = self.token = ""
        self.seconds: dict[str, float] = {}
        self.queries = self.failed = self.reserved = 0
        self.ranks: Callable[[], Sequence[float]] | None = None

    def check(self) -> None:
        """Go on only while the caller waits.

        Raises:
            DeadlineExceeded: if it does not.
        """
        if not self.is_wanted() or (self.deadline is not None and monotonic() >= self.deadline):
            raise errors.DeadlineExceeded

    def is_wanted(self) -> bool:
        """Whether the caller still waits: it neither cancelled nor ran out of time."""
        return bool(self.context.is_active())

    def enter_bulk(self, message_bytes: int = 0) -> None:
        """Count the call as a bulk request until it ends, by its message's size as several.

        Raises:
            Overloaded: if too many are in flight.
        """
        self.admission.enter_bulk(self.context, message_bytes)

    def reserve(self, size: int) -> None:
        """Count bytes of the response.

        Raises:
            Overloaded: if too many bytes of responses are under way.
        """
        self.admission.reserve(size)
        self.reserved += size


Run = Callable[[Any, Call], Message | bytes]
"""Request and call -> response; where it is bytes, those it reserved are counted already."""

Authorise = Callable[[str, Metadata, Callable[[], str]], str]
"""Method, metadata, caller's address -> which token; raises Unauthenticated or Forbidden."""


class Observer(Protocol):
    """Counts and logs calls."""

    def ended(self, method: str, code: grpc.StatusCode, call: Call, seconds: float) -> None:
        """Count a call."""

    def failed(self, method: str, call: Call, error: BaseException) -> None:
        """Log an error of ours; the caller gets only the request id."""


class Services(grpc.GenericRpcHandler):
    """The methods of proto services, ready for a gRPC server."""

    def __init__(
        self,
        methods: Mapping[MethodDescriptor, Run],
        admission: AdmissionController,
        authoriser: Callable[[str], Authorise | None],
        observer: Observer,
    ) -> None:
        """Make a handler of each method.

        Args:
            methods: what runs each method.
            admission: admits calls.
            authoriser: method -> what checks its callers; None where all may call it.
            observer: counts and logs calls.
        """
        self._admission, self._authoriser, self._observer = admission, authoriser, observer
        self._handlers = {
            f"/{method.containing_service.full_name}/{method.name}": self._handler(method, run)
            for method, run in methods.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call; None for a method that is not here."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, method: MethodDescriptor, run: Run) -> Any:
        request_class = GetMessageClass(method.input_type)
        name, admission, observer = method.full_name, self._admission, self._observer
        authorise = self._authoriser(name)

        def answer(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            start = perf_counter()
            metadata = dict(context.invocation_metadata())
            call = Call(context, metadata, admission)
            code, response = grpc.StatusCode.OK, b""
            try:
                admission.check()
                if authorise is not None:
                    call.token = authorise(name, metadata, context.peer)
                response = _admitted(run, _receive(messages, call), request_class, call)
                context.set_trailing_metadata(((REQUEST_ID, call.id),))
            except Exception as error:  # the last line of defence: the server stays up
                code = _fail(call, error)
                if code is grpc.StatusCode.INTERNAL:
                    observer.failed(name, call, error)
                _forget_frames(error)
            observer.ended(name, code, call, perf_counter() - start)
            return response

        return grpc.stream_unary_rpc_method_handler(answer)


def _receive(messages: Iterator[bytes], call: Call) -> bytes:
    """The message of a call.

    Raises:
        InvalidArgument: if it has none.
        DeadlineExceeded: if the caller left.
    """
    try:
        return call.admission.receive(messages, call.context)
    except (StopIteration, grpc.RpcError):
        call.check()
        raise errors.InvalidArgument("request", "one message", "none") from None


def _admitted(run: Run, data: bytes, request_class: type[Message], call: Call) -> bytes:
    """Run a call between entering and leaving, and count its response until it is taken."""
    admission = call.admission
    admission.enter(call.context)
    try:
        if len(data) > _LARGE_BYTES:
            call.enter_bulk(len(data))
        request = _decode(request_class, data)
        del data  # may be large
        made = run(request, call)
        response = made if isinstance(made, bytes) else made.SerializeToString()
        call.reserve(len(response) - call.reserved)
    except BaseException:
        admission.release(call.reserved)
        raise
    finally:
        admission.leave(call.context)
    admission.send(call.reserved, call.context)
    return response


def _fail(call: Call, error: Exception) -> grpc.StatusCode:
    """End a call with the status of an error; its code."""
    if isinstance(error, errors.Overloaded):
        status, packed = refusal(error.limit, error.what)
    else:
        status = status_of(error, call.id)
        packed = status.SerializeToString()
    code = CODE_BY_NUMBER[status.code]
    call.context.set_code(code)
    call.context.set_details(status.message)
    call.context.set_trailing_metadata(((REQUEST_ID, call.id), (_DETAILS, packed)))
    return code


def _forget_frames(error: BaseException | None) -> None:
    """Drop the frames of an error that was told, and of its causes.

    A frame that holds an error that refers to it holds all its callers too, and with them the call,
    until garbage is collected, which is rare (see ``server.calm_collector``). To gRPC the call has
    not ended until then.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


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


def _request_id(metadata: Metadata) -> str:
    """The caller's request id where it is a harmless one, else a fresh one."""
    given = metadata.get(REQUEST_ID)
    if isinstance(given, str) and _REQUEST_ID_FORM.fullmatch(given):
        return given
    return f"{_random.getrandbits(64):016x}"

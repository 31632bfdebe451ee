"""Errors as google.rpc.Status: the only table of status codes, and details for programs.

The status of a call goes in HTTP/2 trailers, of which clients take 8 KiB by default: the sentence
with up to three letters for each byte, and once more in base64. A client reports longer trailers
as an error of its own, so sentences and choices are cut to ``MOST_BYTES``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, takewhile

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from mulde import errors
from mulde.v1 import common_pb2

CODES: dict[type[errors.MuldeError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.AmbiguousLabel: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnknownName: grpc.StatusCode.NOT_FOUND,
    errors.UnknownModel: grpc.StatusCode.NOT_FOUND,
    errors.Unsupported: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotEnabled: grpc.StatusCode.FAILED_PRECONDITION,
    errors.BundleError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StoreError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unreachable: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ChangeTimedOut: grpc.StatusCode.ABORTED,
    errors.Draining: grpc.StatusCode.UNAVAILABLE,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
}
"""The code of each error, or of the nearest class above it; what is not here is INTERNAL."""

DOMAIN = "mulde"
RETRY_MS = 100
"""When a refused caller may try again."""
MOST_BYTES = 768
"""Bytes of UTF-8 of a sentence, and of the choices in a detail."""

CODE_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def cut(text: str, most_bytes: int = MOST_BYTES) -> str:
    """A text of at most so many bytes; ``...`` where it is not whole."""
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - 3].decode("utf-8", "ignore") + "..."


def fitting(names: Sequence[str], most_bytes: int = MOST_BYTES) -> list[str]:
    """The first names that have at most so many bytes together; each is whole."""
    ends = accumulate(len(name.encode("utf-8", "backslashreplace")) for name in names)
    count = sum(1 for _ in takewhile(lambda end: end <= most_bytes, ends))
    return list(names[:count])


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
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(RETRY_MS)
        _attach(status, retry)
    if isinstance(error, errors.UnknownName):
        _attach(status, _problem(error.name, error.nearest))
    if isinstance(error, errors.AmbiguousLabel):
        _attach(status, _problem(error.label, error.choices))
    return status


@lru_cache(maxsize=64)
def refusal(limit: int, what: str) -> tuple[status_pb2.Status, bytes]:
    """The status of an overload, and its bytes; kept, since refusing has to be cheap."""
    status = status_of(errors.Overloaded(limit, what), "")
    return status, status.SerializeToString()


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

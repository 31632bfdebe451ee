"""Statuses back to the errors that they were on the server."""

from __future__ import annotations

import re
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from mulde import errors
from mulde.v1 import common_pb2


def _tree(kind: type[errors.MuldeError]) -> list[type[errors.MuldeError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in _tree(below))]


_BY_REASON = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).upper(): kind
    for kind in _tree(errors.MuldeError)
}
_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.Forbidden,
}


def error_of(status: status_pb2.Status) -> errors.MuldeError:
    """The error that a status of one query, or of a call, stands for."""
    info, problem, request = (
        error_details_pb2.ErrorInfo(),
        common_pb2.NameProblem(),
        error_details_pb2.BadRequest(),
    )
    for detail in status.details:
        for message in (info, problem, request):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    kind = _BY_REASON.get(info.reason)
    if kind is None:
        return errors.ServerError(code_pb2.Code.Name(status.code), status.message)
    facts: dict[str, Any] = (
        {"field": request.field_violations[0].field} if (request.field_violations) else {}
    )
    if issubclass(kind, errors.UnknownName):
        facts |= {"name": problem.name, "nearest": tuple(problem.choices)}
    if issubclass(kind, errors.AmbiguousLabel):
        facts |= {"label": problem.name, "choices": tuple(problem.choices)}
    return _revive(kind, status.message, facts)


def error_of_call(error: grpc.RpcError, address: str) -> errors.MuldeError:
    """The error that a failed call stands for; what gRPC itself reports included."""
    status = rpc_status.from_call(error)
    if status is not None:
        return error_of(status)
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE:
        return errors.Unreachable(address, details)
    kind = _BY_CODE.get(code)
    if kind is None:
        return errors.ServerError(code.name, details)
    return _revive(kind, details, {})


def _revive(
    kind: type[errors.MuldeError], message: str, facts: dict[str, Any]
) -> errors.MuldeError:
    """An error with the sentence that the server wrote, without writing it again."""
    error = kind.__new__(kind, message)
    error.args = (message,)
    error.__dict__.update(facts)
    return error

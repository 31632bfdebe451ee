"""Errors as problem details for HTTP (RFC 9457), and the HTTP status of each."""

from __future__ import annotations

import re
from typing import Any

import grpc

from mulde import errors
from serving.rpc.status import RETRY_MS, code_of, cut

MEDIA_TYPE = "application/problem+json"

_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""HTTP status of each gRPC code, as google.rpc.Code maps them; what is not here is 500."""

_TITLES = {
    400: "The request is wrong",
    401: "A valid token is needed",
    403: "The token's role does not allow this",
    404: "No such name",
    409: "The change did not happen",
    413: "The request is too large",
    415: "The request is not JSON",
    421: "The request is for another host",
    405: "The method is not allowed here",
    408: "The request did not arrive in time",
    429: "The server is at one of its limits",
    500: "The server failed",
    501: "The server does not know this call",
    503: "The server is away",
    504: "The deadline passed",
}


def problem_of(error: errors.MuldeError) -> dict[str, Any]:
    """An error as a problem.

    Returns:
        ``type``, ``title``, ``status`` (HTTP) and ``detail`` (a sentence) as RFC 9457 has them;
        ``code`` and ``reason`` as the contract has them; where they apply ``field``, ``name`` and
        ``choices`` (nearest spellings, or the ids that share a label).
    """
    code = _code_of(error)
    reason = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()
    body = plain_problem(_HTTP.get(code, 500), reason, str(error), code.name)
    if field := getattr(error, "field", ""):
        body["field"] = field
    if isinstance(error, errors.UnknownName):
        body |= {"name": getattr(error, "name", ""), "choices": list(error.nearest)}
    if isinstance(error, errors.AmbiguousLabel):
        body |= {"name": error.label, "choices": list(error.choices)}
    return body


def plain_problem(status: int, reason: str, detail: str, code: str = "") -> dict[str, Any]:
    """A problem with the members that every problem has."""
    kind = reason.lower().replace("_", "-")
    title = _TITLES.get(status, "The request failed")
    body: dict[str, Any] = {"type": f"urn:mulde:problem:{kind}", "title": title, "status": status}
    body |= {"detail": cut(detail), "code": code or "INVALID_ARGUMENT", "reason": reason}
    return body


def headers_of(status: int) -> dict[str, str]:
    """Headers that go with a status."""
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if status in (429, 503):
        return {"Retry-After": str(max(1, RETRY_MS // 1000))}
    return {}


def _code_of(error: errors.MuldeError) -> grpc.StatusCode:
    """The gRPC code of an error; a failed server's own where it told one."""
    if isinstance(error, errors.ServerError):
        found: grpc.StatusCode = getattr(grpc.StatusCode, error.code, grpc.StatusCode.INTERNAL)
        return found
    return code_of(error)

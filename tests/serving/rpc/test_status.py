"""The one table of codes, and how an error looks at the wire."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from mulde import errors
from mulde.client.failures import error_of
from mulde.v1 import common_pb2
from serving.rpc.status import code_of, status_of

CALLERS_FAULT = [
    errors.InvalidArgument("options.k", "1 to 3", 4),
    errors.UnknownEntity("dgo", ["dog", "doe"], "heads[2]"),
    errors.UnknownRelation("hyper", [], "relations[0]"),
    errors.UnknownType("x", [], "filter.types[0]"),
    errors.AmbiguousLabel("bank", ["bank.n.01", "bank.n.02"], "tails[0]"),
    errors.UnknownModel("a", ["b"]),
    errors.Unsupported("filter.types", "types"),
    errors.NotEnabled("a fact store"),
    errors.Overloaded(3),
    errors.DeadlineExceeded(),
    errors.ChangeTimedOut("worker 1 has not loaded the models", 60.0),
    errors.Draining(),
    errors.Unauthenticated(),
    errors.Forbidden("LoadModel"),
    errors.BundleError(Path("x/encoder.onnx"), "damaged"),
]


def tree(kind: type[errors.MuldeError]) -> set[type[errors.MuldeError]]:
    return {kind}.union(*(tree(below) for below in kind.__subclasses__()))


def test_every_error_that_a_caller_can_cause_has_a_code() -> None:
    leaves = {kind for kind in tree(errors.RequestError) if not kind.__subclasses__()}
    uncoded = {kind for kind in leaves if code_of(kind.__new__(kind)) is grpc.StatusCode.INTERNAL}
    assert uncoded == set()
    assert leaves <= {type(error) for error in CALLERS_FAULT}


def test_what_is_no_callers_fault_is_internal_and_says_only_an_id() -> None:
    for error in (ZeroDivisionError("secret"), errors.ConfigError("secret", "a", "b")):
        status = status_of(error, "0123abcd")
        assert status.code == grpc.StatusCode.INTERNAL.value[0]
        assert "0123abcd" in status.message
        assert "secret" not in str(status)


@pytest.mark.parametrize("error", CALLERS_FAULT, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_what_it_was(error: errors.MuldeError) -> None:
    back = error_of(status_of(error, "id"))
    assert type(back) is type(error)
    assert str(back) == str(error)
    for fact in ("field", "name", "nearest", "label", "choices"):
        if hasattr(error, fact) and not isinstance(error, errors.UnknownModel):
            assert getattr(back, fact) == getattr(error, fact)


def test_details_name_field_reason_and_choices() -> None:
    status = status_of(errors.UnknownEntity("dgo", ["dog"], "heads[2]"), "id")
    info, request, problem = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        common_pb2.NameProblem(),
    )
    for detail, message in zip(status.details, (info, request, problem), strict=True):
        assert detail.Unpack(message)
    assert (info.reason, info.domain) == ("UNKNOWN_ENTITY", "mulde")
    assert request.field_violations[0].field == "heads[2]"
    assert (problem.name, list(problem.choices)) == ("dgo", ["dog"])


def test_an_overload_says_when_to_try_again() -> None:
    retry = error_details_pb2.RetryInfo()
    details = status_of(errors.Overloaded(3), "id").details
    assert [detail.Unpack(retry) for detail in details if detail.Is(retry.DESCRIPTOR)] == [True]
    assert 0 < retry.retry_delay.ToMilliseconds() <= 1000

"""Read requests: limits, options with their defaults, candidate filters, and pages of a list.

Pages follow AIP-158: a token says where the next page starts, and of which list.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mulde.errors import InvalidArgument, UnknownType, Unsupported
from mulde.evaluation.calibration import BASE_RATE
from mulde.typing import Rows
from mulde.v1 import common_pb2, model_pb2, prediction_pb2
from serving.registry.model import Model
from serving.rpc.handlers import Call

DEFAULT_K = 10
_VIEWS = frozenset(common_pb2.NameView.values())


@dataclass(frozen=True)
class Limits:
    """Bounds on a request; the defaults are those that the contract's comments state.

    Attributes:
        max_batch_size: queries in a request, and queries that share a run of the engine.
        max_k: answers for each query.
        max_name_bytes: bytes of a name.
        max_filter_names: names in an allow-list or deny-list.
        max_message_bytes: bytes of a request.
    """

    max_batch_size: int = 1024
    max_k: int = 1000
    max_name_bytes: int = 1024
    max_filter_names: int = 100_000
    max_message_bytes: int = 16 << 20

    MAX_TYPES = 100
    MAX_SEARCH_CHARACTERS = 256
    MAX_SEARCH_RESULTS = 100
    MAX_PAGE = 1000

    def check_batch(self, field: str, values: Sequence[str]) -> None:
        """Refuse an empty or too large batch.

        Raises:
            InvalidArgument: naming the field.
        """
        if not 1 <= len(values) <= self.max_batch_size:
            expected = f"1 to {self.max_batch_size} queries"
            raise InvalidArgument(field, expected, len(values))

    def message(self) -> model_pb2.Limits:
        """As ``GetModel`` tells them."""
        return model_pb2.Limits(
            max_batch_size=self.max_batch_size,
            max_k=self.max_k,
            max_name_bytes=self.max_name_bytes,
            max_filter_names=self.max_filter_names,
            max_message_bytes=self.max_message_bytes,
        )


def check_same_length(field: str, values: Sequence[str], other: str, others: Sequence[str]) -> None:
    """Refuse parallel fields of different lengths.

    Raises:
        InvalidArgument: naming the field.
    """
    if len(values) != len(others):
        raise InvalidArgument(field, f"{len(others)}, as many as {other}", len(values))


@dataclass(frozen=True)
class Options:
    """``PredictOptions`` with its defaults filled in; None is no threshold."""

    k: int
    exclude_known: bool
    score_threshold: float | None
    probability_threshold: float | None
    exact: bool
    view: int
    plausibility: bool


def read_options(
    message: prediction_pb2.PredictOptions, limits: Limits, candidates: int, model: Model
) -> Options:
    """Check options.

    Args:
        message: as it came.
        limits: of this server.
        candidates: how many answers there can be at all.
        model: that is asked.

    Raises:
        InvalidArgument: naming the field.
        Unsupported: for a probability threshold without calibration.
    """
    score = message.score_threshold if message.HasField("score_threshold") else None
    if score is not None and not math.isfinite(score):
        raise InvalidArgument("options.score_threshold", "a finite number", score)
    probability = None
    if message.HasField("probability_threshold"):
        probability = message.probability_threshold
        if not 0.0 <= probability <= 1.0:
            raise InvalidArgument("options.probability_threshold", "0 to 1", probability)
        if model.bundle.calibration is None:
            raise Unsupported("options.probability_threshold", "a calibration")
    k = message.k if message.HasField("k") else None
    return Options(
        k=read_k("options.k", k, limits, candidates),
        exclude_known=not message.HasField("exclude_known") or message.exclude_known,
        score_threshold=score,
        probability_threshold=probability,
        exact=message.exact,
        view=read_view("options.view", message.view),
        plausibility=message.plausibility,
    )


def read_base_rate(message: prediction_pb2.ScoreTriplesRequest) -> float:
    """Check the base rate of plausibilities.

    Raises:
        InvalidArgument: if it is no share between 0 and 1.
    """
    if not message.HasField("base_rate"):
        return BASE_RATE
    if not 0.0 < message.base_rate < 1.0:
        raise InvalidArgument("base_rate", "above 0, below 1", message.base_rate)
    return message.base_rate


def read_k(field: str, k: int | None, limits: Limits, candidates: int) -> int:
    """Check a number of answers; None is the default.

    Raises:
        InvalidArgument: naming the field.
    """
    most = min(limits.max_k, candidates)
    if k is None:
        return min(DEFAULT_K, most)
    if not 1 <= k <= most:
        raise InvalidArgument(field, f"1 to {most}", k)
    return k


def read_view(field: str, view: int) -> int:
    """Check a view.

    Raises:
        InvalidArgument: if the contract has no such view.
    """
    if view not in _VIEWS:
        raise InvalidArgument(field, "a value of mulde.v1.NameView", view)
    return view or common_pb2.NAME_VIEW_ID_AND_LABEL


def read_filter(
    message: common_pb2.CandidateFilter, limits: Limits, model: Model, call: Call
) -> tuple[Rows | None, Rows | None]:
    """Rows that may be answers (None for all), and rows that may not (None for none).

    Args:
        message: as it came.
        limits: of this server.
        model: whose names they are.
        call: ends the work if its caller left.

    Raises:
        InvalidArgument, UnknownEntity, AmbiguousLabel, UnknownType: naming the field and the place.
        Unsupported: for types where the model has none.
    """
    allow = deny = None
    if message.HasField("allow"):
        allow = np.unique(
            _filter_rows("filter.allow", message.allow.names, limits, model, call.check)
        )
    if message.deny:
        deny = np.unique(_filter_rows("filter.deny", message.deny, limits, model, call.check))
    if message.HasField("types"):
        typed = _rows_of_types(list(message.types.names), model)
        allow = typed if allow is None else np.intersect1d(allow, typed)
    return allow, deny


def _filter_rows(
    field: str, names: Sequence[str], limits: Limits, model: Model, check: Callable[[], None]
) -> Rows:
    if len(names) > limits.max_filter_names:
        expected = f"at most {limits.max_filter_names} names"
        raise InvalidArgument(field, expected, len(names))
    return model.resolver.all_entities(field, names, check)


def _rows_of_types(names: list[str], model: Model) -> Rows:
    if len(names) > Limits.MAX_TYPES:
        raise InvalidArgument("filter.types", f"at most {Limits.MAX_TYPES} types", len(names))
    parts = [np.zeros(0, np.int64)]
    for place, name in enumerate(names):
        found = model.rows_of_type(name)
        if found is None:
            raise UnknownType(name, model.near_types(name), f"filter.types[{place}]")
        parts.append(found)
    rows: Rows = np.unique(np.concatenate(parts))
    return rows


def read_page_size(size: int, default: int, most: int = Limits.MAX_PAGE) -> int:
    """How many elements a page has: 0 is the default, more than the most is the most.

    Raises:
        InvalidArgument: if it is negative.
    """
    if size < 0:
        raise InvalidArgument("page_size", f"0 to {most}", size)
    return min(size or default, most)


def next_token(offset: int, of: str) -> str:
    """A token for the page that starts at ``offset`` of the list described by ``of``."""
    return base64.urlsafe_b64encode(json.dumps([offset, of]).encode()).decode()


def read_token(token: str, of: str) -> int:
    """Where the page starts; 0 without a token.

    Raises:
        InvalidArgument: if the token is none of ours, or of another list.
    """
    if not token:
        return 0
    expected = "next_page_token of a page of the same list"
    try:
        offset, described = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, RecursionError):
        raise InvalidArgument("page_token", expected, token) from None
    if type(offset) is not int or not 0 <= offset < 2**62 or described != of:
        raise InvalidArgument("page_token", expected, token)
    return offset

"""The options of a request, checked: what a caller may leave out gets its default here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mulde.errors import InvalidArgument, UnknownType, Unsupported
from mulde.v1 import common_pb2, prediction_pb2
from serving.engine.exclusions import Rows
from serving.registry.limits import Limits
from serving.registry.model import Model

DEFAULT_K = 10
_VIEWS = frozenset(common_pb2.NameView.values())


@dataclass(frozen=True)
class Options:
    """``PredictOptions`` with its defaults filled in; None is no threshold."""

    k: int
    exclude_known: bool
    score_threshold: float | None
    probability_threshold: float | None
    exact: bool
    view: int


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
    )


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
    message: common_pb2.CandidateFilter, limits: Limits, model: Model
) -> tuple[Rows | None, Rows | None]:
    """Rows that may be answers (None for all), and rows that may not (None for none).

    Raises:
        InvalidArgument, UnknownEntity, AmbiguousLabel, UnknownType: naming the field and the place.
        Unsupported: for types where the model has none.
    """
    allow = deny = None
    if message.HasField("allow"):
        allow = np.unique(_filter_rows("filter.allow", message.allow.names, limits, model))
    if message.deny:
        deny = np.unique(_filter_rows("filter.deny", message.deny, limits, model))
    if message.HasField("types"):
        typed = _rows_of_types(list(message.types.names), model)
        allow = typed if allow is None else np.intersect1d(allow, typed)
    return allow, deny


def _filter_rows(field: str, names: Sequence[str], limits: Limits, model: Model) -> Rows:
    if len(names) > limits.max_filter_names:
        expected = f"at most {limits.max_filter_names} names"
        raise InvalidArgument(field, expected, len(names))
    return model.namer.all_entities(field, names)


def _rows_of_types(names: list[str], model: Model) -> Rows:
    if len(names) > Limits.MAX_TYPES:
        raise InvalidArgument("filter.types", f"at most {Limits.MAX_TYPES} types", len(names))
    types = model.bundle.types
    if types is None:
        raise Unsupported("filter.types", "types")
    for place, name in enumerate(names):
        if name not in types:
            raise UnknownType(name, model.near_types(name), f"filter.types[{place}]")
    parts: list[Rows] = [
        np.zeros(0, np.int64),
        *(types.of(name).astype(np.int64) for name in names),
    ]
    rows: Rows = np.unique(np.concatenate(parts))
    return rows

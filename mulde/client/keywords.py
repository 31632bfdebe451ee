"""The keyword arguments of the clients' methods, defined once for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from mulde.v1 import common_pb2, facts_pb2, prediction_pb2

Names = str | Iterable[str] | NDArray[np.str_]
View = Literal["id_and_label", "id", "row"]


class ModelKeywords(TypedDict, total=False):
    """Which model answers, and how long to wait.

    Attributes:
        model: its name; default: the only one that is loaded.
        version: default: the current one.
        timeout_s: seconds until DeadlineExceeded; default: the client's.
    """

    model: str
    version: str
    timeout_s: float | None


class CandidateKeywords(ModelKeywords, total=False):
    """Which entities may be answers.

    Attributes:
        allow: only these; None (the default) for all, an empty list for none.
        deny: never these.
        types: only entities with one of these types; None (the default) for all, an empty list
            for none.
    """

    allow: Names | None
    deny: Names | None
    types: Names | None


class RankingKeywords(ModelKeywords, total=False):
    """How to answer.

    Attributes:
        k: answers to each query; default: 10, or all where they are fewer.
        exclude_known: leave known facts out (the default), or keep and mark them.
        score_threshold: least score.
        probability_threshold: least probability (of relations: plausibility).
        plausibility: also say how plausible each answer is as a triple.
        exact: insist on certainly exact answers.
        view: what to say about each answer: "id_and_label" (the default), "id" or "row".
    """

    k: int
    exclude_known: bool
    score_threshold: float
    probability_threshold: float
    plausibility: bool
    exact: bool
    view: View


ContextFact = tuple[str, str, str]
"""Head, relation and tail; one of the entities is unknown to the model."""


class ContextKeywords(ModelKeywords, total=False):
    """What the request itself tells.

    Attributes:
        context: facts about entities that the model does not know, each by the name that the
            request uses for it; 1 to 100 for each entity.
    """

    context: Iterable[ContextFact]


class PredictionKeywords(RankingKeywords, CandidateKeywords, ContextKeywords, total=False):
    """All of them."""


class TextKeywords(ModelKeywords, total=False):
    """What is known about new entities besides facts.

    Attributes:
        labels: by id.
        descriptions: by id.
        types: names of types by id.
    """

    labels: Mapping[str, str]
    descriptions: Mapping[str, str]
    types: Mapping[str, Sequence[str]]


def texts(given: TextKeywords) -> list[facts_pb2.NewEntity]:
    """Texts and types of new entities."""
    labels, types = given.get("labels", {}), given.get("types", {})
    descriptions = given.get("descriptions", {})
    return [
        facts_pb2.NewEntity(
            id=name,
            label=labels.get(name, ""),
            description=descriptions.get(name, ""),
            types=types.get(name, ()),
        )
        for name in dict.fromkeys([*labels, *descriptions, *types])
    ]


def context(given: ContextKeywords) -> list[prediction_pb2.ContextFact]:
    """Facts about entities that the model does not know."""
    return [
        prediction_pb2.ContextFact(head=head, relation=relation, tail=tail)
        for head, relation, tail in given.get("context", ())
    ]


def selector(given: ModelKeywords) -> common_pb2.ModelSelector:
    """Which model answers."""
    return common_pb2.ModelSelector(name=given.get("model", ""), version=given.get("version", ""))


def candidates(given: CandidateKeywords) -> common_pb2.CandidateFilter:
    """Which entities may be answers."""
    return common_pb2.CandidateFilter(
        allow=_listed(given.get("allow")),
        deny=names(given.get("deny") or []),
        types=_listed(given.get("types")),
    )


def _listed(values: Names | None) -> common_pb2.NameList | None:
    return None if values is None else common_pb2.NameList(names=names(values))


def options(given: RankingKeywords) -> prediction_pb2.PredictOptions:
    """How to answer."""
    return prediction_pb2.PredictOptions(
        k=given.get("k"),
        exclude_known=given.get("exclude_known", True),
        score_threshold=given.get("score_threshold"),
        probability_threshold=given.get("probability_threshold"),
        plausibility=given.get("plausibility", False),
        exact=given.get("exact", False),
        view=view(given.get("view", "id_and_label")),
    )


def view(word: View) -> str:
    """The contract's name of a view, such as NAME_VIEW_ID for "id"."""
    return f"NAME_VIEW_{word.upper()}"


def names(values: Names) -> list[str]:
    """One name or several, as a list."""
    if isinstance(values, str):
        return [values]
    if isinstance(values, np.ndarray):
        return [str(value) for value in values.reshape(-1).tolist()]
    return list(values)


def paired(values: Names, others: list[str]) -> list[str]:
    """Names to go with ``others``; a single name goes with each of them."""
    return [values] * len(others) if isinstance(values, str) else names(values)

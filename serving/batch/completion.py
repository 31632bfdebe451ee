"""All answers above a probability, however many they are.

Most questions have few such answers, some have thousands. So each is asked for a few first, and
those whose last answer is still probable enough are asked again for more.

Shape letters: B questions, A answers, N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.bundle import Bundle
from mulde.errors import Unsupported
from mulde.typing import Float64 as Array
from mulde.typing import Rows
from serving.engine.engine import Engine
from serving.engine.results import Results

_FIRST_K = 16
_GROWTH = 8
_PAIRS = 1 << 20


@dataclass(frozen=True)
class Ranked:
    """Answers to B questions, by question and rank.

    Attributes:
        owners: int64 [A], place of the question.
        rows: int64 [A].
        scores: float64 [A], the scorer's.
        priors: float64 [A], relation priors; answers are ranked by score + prior.
        probabilities: float64 [A]; NaN without a calibration.
        exact: bool [B].
        known: bool [A].
    """

    owners: Rows
    rows: Rows
    scores: Array
    priors: Array
    probabilities: Array
    exact: NDArray[np.bool_]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, answers: Results, probabilities: Array) -> Ranked:
        """Those of the engine, with their probabilities."""
        count = len(answers.rows)
        return cls(
            answers.owners,
            answers.rows.astype(np.int64),
            answers.scores,
            np.zeros(count) if answers.priors is None else answers.priors,
            probabilities,
            answers.exact,
            np.zeros(count, bool) if answers.known is None else answers.known,
        )

    @property
    def ranks(self) -> Rows:
        """From 1, within each question."""
        return np.arange(len(self.owners)) - np.searchsorted(self.owners, self.owners) + 1


def check_completable(bundle: Bundle) -> None:
    """Refuse a bundle with which nothing is known or probable.

    Raises:
        Unsupported: naming what it lacks.
    """
    if bundle.calibration is None:
        raise Unsupported("min_probability", "a calibration")
    if bundle.known is None:
        raise Unsupported("complete", "known facts")


def candidates(bundle: Bundle, relation: int, side: str) -> Rows:
    """Rows that may stand at a side, "head" or "tail", of a relation in [0, R); ascending.

    Those that train has there; all, where the bundle has no types.
    """
    if bundle.types is None:
        return np.arange(bundle.manifest.entities)
    name = f"{side}:{bundle.vocabulary.relations.ids[relation]}"
    return bundle.types.of(name).astype(np.int64)


def probable(
    engine: Engine, entities: Rows, relation: int, least: float, allow: Rows, *, exact: bool
) -> Ranked:
    """Unknown facts (entity, relation, ?) with a probability of at least ``least``.

    Args:
        engine: of a bundle that ``check_completable`` accepts.
        entities: [B].
        relation: in [0, 2R), the same for all.
        least: in [0, 1].
        allow: [N], what may be an answer.
        exact: as for ``Engine.predict``.
    """
    pending, k, found = np.arange(len(entities)), min(_FIRST_K, len(allow)), []
    sure = np.ones(len(entities), dtype=bool)
    while len(pending) and k:
        more = []
        for part in np.array_split(pending, -(-len(pending) * k // _PAIRS)):
            ranked = _ask(engine, entities[part], relation, k, allow, exact=exact)
            passing = ranked.probabilities >= least
            counts = np.bincount(ranked.owners[passing], minlength=len(part))
            cut = (counts == k) & (k < len(allow))
            more.append(part[cut])
            sure[part] = ranked.exact
            kept = passing & ~cut[ranked.owners]
            columns = ranked.rows, ranked.scores, ranked.priors, ranked.probabilities
            found.append((part[ranked.owners[kept]], *(column[kept] for column in columns)))
        pending, k = np.concatenate(more), min(_GROWTH * k, len(allow))
    return _in_order(found, sure)


def _ask(
    engine: Engine, entities: Rows, relation: int, k: int, allow: Rows, *, exact: bool
) -> Ranked:
    relations = np.full(len(entities), relation)
    answers = engine.predict(entities, relations, k, exclude_known=True, allow=allow, exact=exact)
    curve = engine.bundle.calibration
    assert curve is not None
    probabilities = curve.probability(answers.totals, relations[answers.owners], priors=True)
    return Ranked.of(answers, probabilities)


def _in_order(
    found: list[tuple[Rows, Rows, Array, Array, Array]], exact: NDArray[np.bool_]
) -> Ranked:
    """One round after another, as questions in their order."""
    if not found:
        nothing, none = np.zeros(0, np.int64), np.zeros(0)
        return Ranked(nothing, nothing, none, none, none, exact, np.zeros(0, bool))
    owners, rows, scores, priors, probabilities = (
        np.concatenate(column) for column in zip(*found, strict=True)
    )
    order = np.argsort(owners, kind="stable")
    return Ranked(
        owners[order],
        rows[order],
        scores[order],
        priors[order],
        probabilities[order],
        exact,
        np.zeros(len(order), dtype=bool),
    )

"""One loaded version of one model: engine, names and queue together.

Shape letters: B queries, A answers of all queries together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy as np

from mulde.bundle import Bundle, open_bundle
from mulde.calibration import Calibration
from mulde.calibration import Curve as CalibrationCurve
from mulde.search import nearest_names
from serving.answers import Answers
from serving.batcher import Batcher
from serving.engine import Engine
from serving.excluded import Rows
from serving.limits import Limits
from serving.naming import Namer
from serving.scoring import Array
from serving.texts import Shown

_WARM_UP = (1, 8, 256)


@dataclass(frozen=True)
class Ask:
    """Queries (entity, relation, ?) that one caller asks at once.

    Attributes:
        entities, relations: [B] rows.
        k: answers wanted for each.
        exclude_known, exact: see ``Engine.predict``.
        allow, deny: see ``Engine.predict``; asks with either are not batched with others.
        asked: ``time.monotonic`` of the asking.
    """

    entities: Rows
    relations: Rows
    k: int
    exclude_known: bool
    exact: bool
    allow: Rows | None
    deny: Rows | None
    asked: float

    @property
    def key(self) -> Hashable:
        """Asks of equal keys can be answered by one call of the engine."""
        alone = self if self.allow is not None or self.deny is not None else None
        return self.exclude_known, self.exact, id(alone)

    def __len__(self) -> int:
        """B."""
        return len(self.entities)


@dataclass(frozen=True)
class Reply:
    """Answers to an ask, and the seconds that it waited in the queue."""

    answers: Answers
    queue_s: float


@dataclass(frozen=True)
class Tuning:
    """How models are loaded.

    Attributes:
        limits: on requests.
        max_waiting: see ``Batcher``.
        max_delay_s: see ``Batcher``.
        low_memory: see ``Engine``.
        observe_batch: hears how many queries each run of the engine has.
    """

    limits: Limits = field(default_factory=Limits)
    max_waiting: int = 4096
    max_delay_s: float = 0.0
    low_memory: bool = False
    observe_batch: Callable[[int], None] = lambda queries: None


Curve = Callable[[Array], Array]


def _curves(calibration: Calibration | None) -> tuple[Curve, Curve] | None:
    """Score -> probability for tails and for heads, quick for a few scores at a time."""
    if calibration is None:
        return None
    return _curve(calibration.tail), _curve(calibration.head)


def _curve(curve: CalibrationCurve) -> Curve:
    scores, probabilities = np.array(curve.scores), np.array(curve.probabilities)
    return lambda values: np.interp(values, scores, probabilities)


class Model:
    """A version that answers. Threads may share it; it goes when its last user lets go of it."""

    def __init__(self, name: str, version: str, bundle: Bundle, tuning: Tuning) -> None:
        """Load an opened bundle under a name.

        Args:
            name: what requests call it.
            version: likewise.
            bundle: verified and mapped.
            tuning: how.

        Raises:
            BundleError: see ``Engine``.
        """
        self.name, self.version, self.bundle = name, version, bundle
        self.engine = Engine(bundle, low_memory=tuning.low_memory)
        self.namer = Namer(bundle.vocabulary, tuning.limits, self.nearest)
        self.entities = Shown(bundle.vocabulary.entities)
        self.relations = Shown(bundle.vocabulary.relations)
        self.probabilities = _curves(bundle.calibration)
        self._observe_batch = tuning.observe_batch
        self.batcher: Batcher[Ask, Reply] = Batcher(
            self._answer,
            max_batch=tuning.limits.max_batch_size,
            max_waiting=tuning.max_waiting,
            max_delay_s=tuning.max_delay_s,
        )

    @classmethod
    def load(cls, path: Path, name: str, version: str, tuning: Tuning) -> Model:
        """Open, verify, load and warm up.

        Raises:
            BundleError: if the bundle is missing, damaged or does not match its model.
        """
        model = cls(name, version, open_bundle(path), tuning)
        model.warm_up()
        return model

    def __str__(self) -> str:
        """name/version."""
        return f"{self.name}/{self.version}"

    def nearest(self, name: str) -> Sequence[str]:
        """Entities that are spelled like a name that is none; best first."""
        index = self.bundle.search
        return () if index is None else index.nearest(name)

    def search(self, text: str, count: int) -> list[int]:
        """Rows of up to ``count`` entities for what was typed: an exact id, then labels."""
        if self.bundle.search is None:
            return []
        same_id = int(self.bundle.vocabulary.entities.rows_of_ids([text])[0])
        rows = self.bundle.search.find(text, count)
        if same_id < 0:
            return rows
        return [same_id, *(row for row in rows if row != same_id)][:count]

    def near_types(self, name: str) -> Sequence[str]:
        """Types that are spelled like a name that is none; best first."""
        types = self.bundle.types
        return () if types is None else nearest_names(list(types.names), name)

    def warm_up(self) -> None:
        """Answer a few queries of each kind, so that the first caller does not pay for it."""
        relations = 2 * self.engine.num_relations
        for count in _WARM_UP:
            rows = np.arange(count)
            entities = rows % self.engine.num_entities
            self.engine.predict(entities, rows % relations, 1, exclude_known=True)

    def _answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """One call of the engine for several callers; each gets its own part."""
        start = monotonic()
        first = asks[0]
        answers = self.engine.answer(
            np.concatenate([ask.entities for ask in asks]) if len(asks) > 1 else first.entities,
            np.concatenate([ask.relations for ask in asks]) if len(asks) > 1 else first.relations,
            max(ask.k for ask in asks),
            exclude_known=first.exclude_known,
            allowed=first.allow,
            denied=first.deny,
            exact=first.exact,
        )
        self._observe_batch(len(answers))
        if len(asks) == 1:
            return [Reply(answers, start - first.asked)]
        ends = np.cumsum([len(ask) for ask in asks]).tolist()
        return [
            Reply(answers.part(end - len(ask), end, ask.k), start - ask.asked)
            for ask, end in zip(asks, ends, strict=True)
        ]

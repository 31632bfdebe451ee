"""One loaded version of one model: engine, names and queue together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.label_search import SearchIndex, nearest_names
from mulde.evaluation.calibration import Calibration
from mulde.evaluation.calibration import Curve as CalibrationCurve
from serving.engine.engine import Engine
from serving.engine.scoring import Array
from serving.registry.batch_request import Ask, Reply, answer_together
from serving.registry.batcher import Batcher
from serving.registry.entity_resolver import Namer, Nearest
from serving.registry.label_cache import Shown
from serving.registry.limits import Limits
from serving.registry.repository import Place

_WARM_UP = (1, 8, 256)


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


def _nearest(index: SearchIndex | None) -> Nearest:
    """Entities that are spelled like a name that is none; best first."""
    return (lambda name: ()) if index is None else index.nearest


def _answerer(
    engine: Engine, observe: Callable[[int], None]
) -> Callable[[Sequence[Ask]], list[Reply]]:
    """Answers asks of equal keys together, and tells how many queries they were."""

    def answer(asks: Sequence[Ask]) -> list[Reply]:
        observe(sum(map(len, asks)))
        return answer_together(engine, asks)

    return answer


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
        # Nothing below refers back to the model, so that it goes at once when it is let go of.
        self.namer = Namer(bundle.vocabulary, tuning.limits, _nearest(bundle.search))
        self.entities = Shown(bundle.vocabulary.entities)
        self.relations = Shown(bundle.vocabulary.relations)
        self.probabilities = _curves(bundle.calibration)
        self.batcher: Batcher[Ask, Reply] = Batcher(
            _answerer(self.engine, tuning.observe_batch),
            max_batch=tuning.limits.max_batch_size,
            max_waiting=tuning.max_waiting,
            max_delay_s=tuning.max_delay_s,
        )

    @classmethod
    def load(cls, place: Place, tuning: Tuning) -> Model:
        """Open, verify, load and warm up.

        Raises:
            BundleError: if the bundle is missing, damaged, another one than was chosen or does not
                match its model.
        """
        bundle = open_bundle(place.path, digest=place.digest)
        model = cls(place.name, place.version, bundle, tuning)
        model.warm_up()
        return model

    def __str__(self) -> str:
        """name/version."""
        return f"{self.name}/{self.version}"

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

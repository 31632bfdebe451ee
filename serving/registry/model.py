"""One loaded version of one model: engine, names and calibration together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np

from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.entities.label_search import SearchIndex, nearest_names
from mulde.errors import NotEnabled, Unsupported
from mulde.typing import Rows
from serving.engine.engine import Engine
from serving.registry.entity_resolver import RECENT, EntityResolver, LabelCache, Nearest
from serving.registry.live_facts import LiveFacts
from serving.registry.new_entities import NewEntities
from serving.registry.placement import Placer
from serving.registry.repository import Place

_WARM_UP = (1, 8, 256)
_FEW_RECENT = 512
"""Names that are kept of each kind where memory is low."""


@dataclass(frozen=True)
class Tuning:
    """How models are loaded.

    Attributes:
        max_name_bytes: longest name of an entity or relation in a request.
        low_memory: see ``Engine``.
    """

    max_name_bytes: int = 1024
    low_memory: bool = False


def _nearest(index: SearchIndex | None) -> Nearest:
    return (lambda name: ()) if index is None else index.nearest


class Model:
    """A version that answers. Threads may share it; it is freed with its last request."""

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
        self.placer = Placer(bundle, self.engine.loaded)
        self.new = NewEntities(bundle.manifest.entities, (), np.zeros(0, bool))
        self._live: LiveFacts | None = None
        self._refreshing = threading.Lock()
        # Nothing below refers back to the model, so that it is freed at once.
        vocabulary, nearest = bundle.vocabulary, _nearest(bundle.search)
        recent = _FEW_RECENT if tuning.low_memory else RECENT
        self.resolver = EntityResolver(vocabulary, tuning.max_name_bytes, nearest, recent)
        self.entities = LabelCache(vocabulary.entities, recent)
        self.relations = LabelCache(vocabulary.relations, recent)

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

    @property
    def live(self) -> LiveFacts:
        """The changes since the training.

        Raises:
            NotEnabled: if the server keeps none.
        """
        if self._live is None:
            raise NotEnabled("a folder for facts (--state)")
        return self._live

    def changes(self) -> dict[str, int]:
        """Count what changed since the training, by kind; nothing where no changes are kept."""
        return {} if self._live is None else self._live.counts()

    def follow(self, live: LiveFacts) -> None:
        """Take over the changes of a store, now and at each ``refresh``."""
        self._live = live
        self.refresh()

    def refresh(self) -> None:
        """Take over what is new in the store.

        Raises:
            StoreError: if it cannot be read.
        """
        if self._live is None:
            return
        with self._refreshing:  # what is read is put on top of the engine of the last time
            found = self._live.refresh(self.engine, self.placer)
            if found is not None:
                # Names of answers first, names of questions last: no row is met before it is known.
                engine, new = found
                self.entities.follow(new.ids, new.labels)
                self.engine, self.new = engine, new
                self.resolver.follow(new.rows)

    def keep(self) -> None:
        """Write what was computed for new entities, so that another start need not.

        Raises:
            StoreError: if the store cannot be written.
        """
        if self._live is not None:
            with self._refreshing:
                self._live.keep(self.engine.amendments.overlay)

    def __str__(self) -> str:
        """name/version."""
        return f"{self.name}/{self.version}"

    def search(self, text: str, count: int) -> list[int]:
        """Rows of up to ``count`` entities for what was typed: an exact id, then labels.

        Entities beyond the table take turns with those of the table.
        """
        if self.bundle.search is None:
            return []
        same_id = int(self.bundle.vocabulary.entities.rows_of_ids([text])[0])
        exact, others = self.new.find(text, count)
        found = zip_longest(self.bundle.search.find(text, count), others)
        rows = chain([same_id, self.new.rows.get(text)], exact, chain.from_iterable(found))
        return [row for row in dict.fromkeys(rows) if row is not None and row >= 0][:count]

    def rows_of_type(self, name: str) -> Rows | None:
        """Return the rows, ascending, of the entities with a type; None for an unknown one.

        Raises:
            Unsupported: if neither the bundle nor an entity beyond it has types.
        """
        types, new = self.bundle.types, self.new.of_type(name)
        if types is None and not len(new):
            raise Unsupported("filter.types", "types")
        if types is None or name not in types:
            return new if len(new) else None
        return np.concatenate([types.of(name).astype(np.int64), new])

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

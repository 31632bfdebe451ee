"""The stores of facts of one process: one file for each model name."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mulde.storage.fact_store import FactStore
from serving.registry.live_facts import LiveFacts
from serving.registry.model import Model


class FactStores:
    """Stores in one folder, opened when a model of their name is loaded."""

    def __init__(self, folder: Path) -> None:
        """Open none yet."""
        self._folder = folder
        self._lock = threading.Lock()
        self._stores: dict[str, FactStore] = {}

    def attach(self, model: Model) -> None:
        """Have a model follow the store of its name.

        Raises:
            StoreError: if the store cannot be opened or read.
        """
        with self._lock:
            store = self._stores.get(model.name)
            if store is None:
                store = self._stores[model.name] = FactStore(store_path(self._folder, model.name))
        model.follow(LiveFacts(store, model.bundle))

    def compact(self, models: Iterable[Model]) -> None:
        """Drop changes that every one of some models carries by itself.

        Args:
            models: all that are served.

        Raises:
            StoreError: if a store cannot be read or written.
        """
        versions: dict[str, list[LiveFacts]] = {}
        for model in models:
            versions.setdefault(model.name, []).append(model.live)
        for lives in versions.values():
            changes = lives[0].store.changes()
            carried = np.all([live.carries(changes) for live in lives], axis=0)
            dropped = [changes[place].sequence for place in np.flatnonzero(carried).tolist()]
            if dropped:
                lives[0].store.compact(dropped)


def store_path(folder: Path, name: str) -> Path:
    """Return the file of a model name."""
    return folder / f"{name}.facts.sqlite"

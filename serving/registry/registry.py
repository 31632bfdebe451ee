"""The models of one process, and how they change under load.

Readers take one snapshot and never a lock; a change builds the next snapshot and puts it in place
with one assignment. So a request is answered wholly by the old or wholly by the new version, and a
version is freed when the last request that uses it lets go of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from mulde.v1 import common_pb2
from serving.registry.model import Model, Tuning
from serving.registry.repository import Place
from serving.registry.served_models import ServedModels

Key = tuple[str, str]

_TURN_S = 0.0005
"""How long a thread keeps the interpreter while a model loads; a tenth of the default of Python."""


@dataclass(frozen=True)
class Snapshot:
    """A served_models and its models, by name and version."""

    served_models: ServedModels = field(default_factory=ServedModels)
    models: Mapping[Key, Model] = field(default_factory=dict)

    @cached_property
    def _by_selector(self) -> Mapping[Key, Model]:
        """Models by name and version as requests write them, either of which may be empty."""
        current = {
            (name, ""): self.models[name, entry.current]
            for name, entry in self.served_models.entries.items()
        }
        selected = {**self.models, **current}
        if len(current) == 1:
            (selected["", ""],) = current.values()
        return selected

    def pick(self, name: str, version: str) -> Model:
        """The model that a name and a version mean, either of which may be empty.

        Raises:
            UnknownModel: if it is not loaded.
            InvalidArgument: if several are and none is named.
        """
        model = self._by_selector.get((name, version))
        return model or self.models[self.served_models.key(name, version, "model.name")]

    def is_current(self, model: Model) -> bool:
        """Whether a model answers where no version is named."""
        return self.served_models.entries[model.name].current == model.version


class Registry:
    """Loads, swaps and frees models."""

    def __init__(
        self,
        tuning: Tuning,
        changed: Callable[[Snapshot], None] = lambda snapshot: None,
        loaded: Callable[[Model], None] | None = None,
    ) -> None:
        """Start with nothing loaded.

        Args:
            tuning: how models are loaded.
            changed: hears of each new snapshot.
            loaded: completes each model that was loaded, before it answers.
        """
        self._tuning, self._changed, self._loaded = tuning, changed, loaded
        self.snapshot = Snapshot()
        self._staged: dict[Key, Model] = {}

    def get(self, selector: common_pb2.ModelSelector) -> Model:
        """See ``Snapshot.pick``."""
        return self.snapshot.pick(selector.name, selector.version)

    def apply(self, served_models: ServedModels) -> None:
        """Load the versions that are new, then switch to ``served_models``.

        Raises:
            BundleError: if something cannot be loaded; nothing has changed then.
        """
        self.prepare(served_models)
        self.commit(served_models)

    def prepare(self, served_models: ServedModels) -> None:
        """Load and warm up the versions that are new, beside those that answer now.

        Raises:
            BundleError: if something cannot be loaded.
        """
        self._staged = {}
        loaded = self.snapshot.models
        places = {
            (place.name, place.version): place
            for entry in served_models.entries.values()
            for place in entry.places.values()
        }
        with _in_small_steps():
            self._staged = {
                key: loaded.get(key) or self._load(place) for key, place in places.items()
            }

    def _load(self, place: Place) -> Model:
        model = Model.load(place, self._tuning)
        if self._loaded is not None:
            self._loaded(model)
        return model

    def refresh(self) -> None:
        """Have the models take over changes of facts that other processes made.

        Raises:
            StoreError: if a store cannot be read or written.
        """
        for model in self.snapshot.models.values():
            model.refresh()
            model.keep()

    def commit(self, served_models: ServedModels) -> None:
        """Switch to the versions that were prepared, and drop all others."""
        self.snapshot, self._staged = Snapshot(served_models, self._staged), {}
        self._changed(self.snapshot)

    def abort(self) -> None:
        """Drop what was prepared."""
        self._staged = {}


@contextmanager
def _in_small_steps() -> Iterator[None]:
    """Have threads take turns sooner, so that callers wait less for the one that loads."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _TURN_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)

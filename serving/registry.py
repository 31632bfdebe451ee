"""The models that are loaded, and how they change under load.

Readers take one snapshot and never a lock; a change builds the next snapshot and puts it in place
with one assignment. So a request is answered wholly by the old or wholly by the new version, and a
version is freed when the last request that uses it lets go of it.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mulde.errors import BundleError, InvalidArgument, MuldeError, UnknownModel
from mulde.manifest import NAME
from mulde.v1 import common_pb2
from serving.model import Model, Tuning
from serving.repository import Place, Repository


@dataclass(frozen=True)
class Loaded:
    """What is loaded of one name.

    Attributes:
        models: version -> model.
        current: the version that answers where none is named.
        pinned: whether a reload leaves it current.
    """

    models: Mapping[str, Model]
    current: str
    pinned: bool = False


@dataclass(frozen=True)
class Snapshot:
    """Everything that is loaded, and what could not be.

    Attributes:
        names: name -> what is loaded of it.
        failures: (name, version) -> why it could not be loaded.
    """

    names: Mapping[str, Loaded] = field(default_factory=dict)
    failures: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def pick(self, name: str, version: str, field: str = "model.name") -> Model:
        """The model that a name and a version mean, either of which may be empty.

        Args:
            name: empty for the only one.
            version: empty for the current one.
            field: where the name stood, for the error.

        Raises:
            UnknownModel: if it is not loaded.
            InvalidArgument: if several are and none is named.
        """
        if not name:
            name = self._only_name(field)
        loaded = self.names.get(name)
        model = loaded.models.get(version or loaded.current) if loaded else None
        if model is None:
            wanted = f"{name}/{version}" if version else name
            raise UnknownModel(wanted, [str(one) for one in self.models()])
        return model

    def _only_name(self, field: str) -> str:
        if not self.names:
            raise UnknownModel("", [])
        if len(self.names) > 1:
            expected = f"one of {', '.join(sorted(self.names))}, for several models are loaded"
            raise InvalidArgument(field, expected, "")
        return next(iter(self.names))

    def models(self) -> list[Model]:
        """All models, by name and version."""
        return [
            loaded.models[version]
            for _, loaded in sorted(self.names.items())
            for version in sorted(loaded.models)
        ]


class Registry:
    """Loads, swaps and frees models; one change at a time."""

    def __init__(
        self, repository: Repository, tuning: Tuning, pins: Mapping[str, str] | None = None
    ) -> None:
        """Start with nothing loaded.

        Args:
            repository: where bundles are.
            tuning: how models are loaded.
            pins: name -> version that shall be current, whatever newer ones there are.
        """
        self._repository, self._tuning = repository, tuning
        self._pins = dict(pins or {})
        self._change = threading.Lock()
        self.snapshot = Snapshot()

    def get(self, selector: common_pb2.ModelSelector) -> Model:
        """See ``Snapshot.pick``."""
        return self.snapshot.pick(selector.name, selector.version)

    def load_all(self) -> None:
        """Load the newest version of each name, or the pinned one; at the start.

        Where the newest is damaged, the next older one is taken; the failure is kept to be told.

        Raises:
            BundleError: if nothing can be loaded: why the first failed.
            UnknownModel: if a pinned version is not there.
        """
        places = self._repository.scan()
        for name, version in self._pins.items():
            if not any((place.name, place.version) == (name, version) for place in places):
                raise UnknownModel(f"{name}/{version}", [f"{p.name}/{p.version}" for p in places])
        first: BundleError | None = None
        for name in dict.fromkeys(place.name for place in places):
            pin = self._pins.get(name)
            wanted = [p for p in places if p.name == name and pin in (None, p.version)]
            for place in reversed(wanted):
                try:
                    self._install(self._read(place), pinned=pin is not None, keep=False)
                    break
                except BundleError as error:
                    first = first or error
        if first is not None and not self.snapshot.names:
            raise first

    def load(self, name: str, version: str = "", *, pin: bool = False) -> Model:
        """Load a version and make it current; the former current one stays loaded.

        Raises:
            InvalidArgument: for a name or version that cannot be one.
            UnknownModel: if it is not on disk.
            BundleError: if it cannot be loaded; what was current stays so.
        """
        check_name("name", name)
        if version:
            check_name("version", version)
        with self._change:
            place = self._repository.find(name, version)
            loaded = self.snapshot.names.get(name)
            model = loaded.models.get(place.version) if loaded else None
            model = model or self._read(place)
            self._install(model, pinned=pin, keep=True)
        return model

    def reload(self, name: str = "") -> tuple[Model, bool]:
        """Make the newest version on disk current and free the former one.

        Returns:
            The current version, and whether it changed.

        Raises:
            UnknownModel, BundleError: as ``load``; what was current stays so.
        """
        if name:
            check_name("name", name)
        with self._change:
            current = self.snapshot.pick(name, "", "name")
            loaded = self.snapshot.names[current.name]
            place = self._repository.find(current.name)
            if loaded.pinned or place.version == current.version:
                return current, False
            model = loaded.models.get(place.version) or self._read(place)
            self._install(model, pinned=False, keep=True)
            del loaded
            self._remove(current.name, current.version)
            return model, True

    def unload(self, name: str, version: str = "") -> list[tuple[str, str]]:
        """Free a version, or all of a name.

        Returns:
            What was freed.

        Raises:
            UnknownModel: if it is not loaded.
        """
        check_name("name", name)
        with self._change:
            self.snapshot.pick(name, version)
            versions = [version] if version else sorted(self.snapshot.names[name].models)
            for one in versions:
                self._remove(name, one)
        release_memory()
        return [(name, one) for one in versions]

    def _read(self, place: Place) -> Model:
        """Load and warm up; a failure is kept to be told."""
        key = place.name, place.version
        failures = {k: v for k, v in self.snapshot.failures.items() if k != key}
        try:
            return Model.load(place.path, place.name, place.version, self._tuning)
        except MuldeError as error:
            failures[key] = str(error)
            raise
        finally:
            self.snapshot = replace(self.snapshot, failures=failures)

    def _install(self, model: Model, *, pinned: bool, keep: bool) -> None:
        """Make a model current."""
        names = dict(self.snapshot.names)
        former = names[model.name].models if keep and model.name in names else {}
        models = {**former, model.version: model}
        names[model.name] = Loaded(models, model.version, pinned)
        self.snapshot = replace(self.snapshot, names=names)

    def _remove(self, name: str, version: str) -> None:
        """Let go of a version; the newest of those that stay becomes current."""
        names = dict(self.snapshot.names)
        loaded = names[name]
        models = {key: model for key, model in loaded.models.items() if key != version}
        if models:
            newest = max(models, key=lambda key: Place(name, key, self._repository.root).order)
            current = loaded.current if loaded.current in models else newest
            names[name] = Loaded(models, current, loaded.pinned and current == loaded.current)
        else:
            del names[name]
        self.snapshot = replace(self.snapshot, names=names)


def check_name(field: str, name: str) -> None:
    """Refuse what cannot be the name of a folder in a repository, such as ``..``.

    Raises:
        InvalidArgument: naming the field.
    """
    if not NAME.fullmatch(name):
        raise InvalidArgument(field, f"a name like {NAME.pattern}", name)


def release_memory() -> None:
    """Give freed memory back to the system, where the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

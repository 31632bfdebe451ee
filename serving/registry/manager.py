"""Decide which models are served: at the start, and in admin calls. One change at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol

from mulde.bundle.files import manifest_digest
from mulde.bundle.manifest import NAME
from mulde.errors import BundleError, InvalidArgument, UnknownModel
from serving.registry.repository import Place, Repository
from serving.registry.served_models import ServedModels


class ServedState(Protocol):
    """The models that are served, in this process alone or in all workers."""

    def changing(self) -> AbstractContextManager[None]:
        """Hold the lock under which models are changed."""

    @property
    def served_models(self) -> ServedModels:
        """What is served."""

    def switch(self, served_models: ServedModels) -> None:
        """Load the versions that are new, then serve ``served_models``.

        Raises:
            BundleError: if it cannot be loaded; nothing has changed then.
        """


class LocalModels:
    """The models of this process."""

    def __init__(self, apply: Callable[[ServedModels], None]) -> None:
        """Start with nothing loaded; ``apply`` loads and switches, see ``Registry.apply``."""
        self._apply = apply
        self._lock = threading.Lock()
        self.served_models = ServedModels()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """See ``ServedState``."""
        with self._lock:
            yield

    def switch(self, served_models: ServedModels) -> None:
        """See ``ServedState``."""
        self._apply(served_models)
        self.served_models = served_models


class ModelManager:
    """Change which models are served."""

    def __init__(
        self,
        repository: Repository,
        state: ServedState,
        pins: Mapping[str, str] | None = None,
    ) -> None:
        """Change nothing yet.

        Args:
            repository: where bundles are.
            state: what is served.
            pins: name -> version that shall be current, whatever newer ones there are.
        """
        self._repository, self._state, self._pins = repository, state, dict(pins or {})

    @property
    def served_models(self) -> ServedModels:
        """What is served."""
        return self._state.served_models

    def start(self) -> None:
        """Load the newest version of each name, or the pinned one.

        Where the newest is damaged, the next older one is taken; the failure is kept to be told.

        Raises:
            BundleError: if nothing can be loaded: why the first failed.
            UnknownModel: if a pinned version is not there.
        """
        places = self._repository.scan()
        known = [f"{place.name}/{place.version}" for place in places]
        for name, version in self._pins.items():
            if f"{name}/{version}" not in known:
                raise UnknownModel(f"{name}/{version}", known)
        with self._state.changing():
            failed = [
                error
                for name in dict.fromkeys(place.name for place in places)
                for error in self._start_name([p for p in places if p.name == name])
            ]
        if failed and not self.served_models.entries:
            raise failed[0]

    def _start_name(self, places: list[Place]) -> list[BundleError]:
        """Load the newest that can be; the errors of those that cannot."""
        pin, errors = self._pins.get(places[0].name), []
        for place in reversed(places):
            if pin in (None, place.version):
                try:
                    self._make_current(place, pinned=pin is not None, keep=False)
                    break
                except BundleError as error:
                    errors.append(error)
        return errors

    def load(self, name: str, version: str, pin: bool) -> tuple[str, str]:
        """Load a version (the newest if empty) and make it current; the former one stays loaded.

        Returns:
            The name and version that are current now.

        Raises:
            InvalidArgument: for a name or version that cannot be one.
            UnknownModel: if it is not on disk.
            BundleError: if it cannot be loaded; what was current stays so.
        """
        check_name("name", name)
        if version:
            check_name("version", version)
        with self._state.changing():
            place = self._repository.find(name, version)
            self._make_current(place, pinned=pin, keep=True)
        return place.name, place.version

    def reload(self, name: str) -> tuple[str, str, bool]:
        """Make the newest version on disk current, and free the former one.

        Returns:
            The name and version that are current now, and whether that changed.

        Raises:
            InvalidArgument, UnknownModel, BundleError: as ``load``; what was current stays so.
        """
        if name:
            check_name("name", name)
        with self._state.changing():
            name, current = self.served_models.key(name, "", "name")
            place = self._repository.find(name)
            if self.served_models.entries[name].pinned or place.version == current:
                return name, current, False
            self._make_current(place, pinned=False, keep=True)
            self._state.switch(self.served_models.without(name, [current]))
        return place.name, place.version, True

    def unload(self, name: str, version: str) -> list[tuple[str, str]]:
        """Free a version, or all of a name.

        Returns:
            Name and version of what was freed.

        Raises:
            InvalidArgument, UnknownModel: if there is no such name, or it is not loaded.
        """
        check_name("name", name)
        if version:
            check_name("version", version)
        with self._state.changing():
            self.served_models.key(name, version, "name")
            versions = [version] if version else list(self.served_models.entries[name].places)
            self._state.switch(self.served_models.without(name, versions))
        return [(name, one) for one in versions]

    def _make_current(self, place: Place, *, pinned: bool, keep: bool) -> None:
        try:
            chosen = replace(place, digest=manifest_digest(place.path))
            self._state.switch(self.served_models.with_current(chosen, pinned=pinned, keep=keep))
        except BundleError as error:
            self._state.switch(self.served_models.with_failure(place, str(error)))
            raise


def check_name(field: str, name: str) -> None:
    """Refuse what cannot be the name of a folder in a repository, such as ``..``.

    Raises:
        InvalidArgument: naming the field.
    """
    if not NAME.fullmatch(name):
        raise InvalidArgument(field, f"a name like {NAME.pattern}", name)

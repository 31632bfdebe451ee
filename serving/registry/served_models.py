"""Which versions are loaded, as plain values: how they change, apart from any loading.

The same steps run in one process or in several: compute the next state, have all processes load
what is new in it, then have all switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mulde.errors import InvalidArgument, UnknownModel
from serving.registry.repository import Place


@dataclass(frozen=True)
class Entry:
    """What is loaded of one name.

    Attributes:
        places: version -> where it lies.
        current: the version that answers where none is named.
        pinned: whether a reload leaves it current.
    """

    places: Mapping[str, Place]
    current: str
    pinned: bool = False


@dataclass(frozen=True)
class ServedModels:
    """Everything that is loaded, and what could not be.

    Attributes:
        entries: name -> what is loaded of it.
        failures: (name, version) -> why it could not be loaded.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    failures: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def key(self, name: str, version: str, field: str) -> tuple[str, str]:
        """Name and version of what is meant, either of which may be empty.

        Args:
            name: empty for the only one.
            version: empty for the current one.
            field: where the name stood, for the error.

        Raises:
            UnknownModel: if it is not loaded.
            InvalidArgument: if several names are and none is given.
        """
        if not name:
            if len(self.entries) > 1:
                expected = f"one of {', '.join(sorted(self.entries))}, for several are loaded"
                raise InvalidArgument(field, expected, "")
            name = next(iter(self.entries), "")
        entry = self.entries.get(name)
        version = version or (entry.current if entry else "")
        if entry is None or version not in entry.places:
            raise UnknownModel(f"{name}/{version}" if version else name, self.keys())
        return name, version

    def keys(self) -> list[str]:
        """Everything that is loaded, as name/version, sorted."""
        return [
            f"{place.name}/{place.version}"
            for _, entry in sorted(self.entries.items())
            for place in sorted(entry.places.values(), key=lambda place: place.order)
        ]

    def with_current(self, place: Place, *, pinned: bool, keep: bool) -> ServedModels:
        """A version loaded and current; the other versions stay loaded if ``keep``.

        One that is loaded stays as it was loaded, whatever lies in its place by now.
        """
        former = self.entries.get(place.name)
        places = dict(former.places) if former and keep else {}
        entry = Entry({place.version: place, **places}, place.version, pinned)
        failures = dict(self.failures)
        failures.pop((place.name, place.version), None)
        return ServedModels({**self.entries, place.name: entry}, failures)

    def without(self, name: str, versions: list[str]) -> ServedModels:
        """Versions gone; if the current one is, the newest of those that stay becomes current."""
        entry = self.entries[name]
        places = {key: place for key, place in entry.places.items() if key not in versions}
        entries = {key: value for key, value in self.entries.items() if key != name}
        if places:
            newest = max(places.values(), key=lambda place: place.order).version
            stays = entry.current in places
            current = entry.current if stays else newest
            entries[name] = Entry(places, current, entry.pinned and stays)
        return replace(self, entries=entries)

    def with_failure(self, place: Place, reason: str) -> ServedModels:
        """The same, and a version that could not be loaded."""
        return replace(self, failures={**self.failures, (place.name, place.version): reason})

"""Where each entity lies on a flat map of the model's space: ``map.bin``.

The map is the Poincaré disk. ``training.export.entity_map`` makes it and says how; it is for people
to look at, and no answer depends on it.

Shape letters: E entities, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from mulde.storage.container import read_sections, write_sections
from mulde.storage.string_sections import PLAIN, check_column, column_arrays, read_column, sections
from mulde.storage.strings import StringColumn
from mulde.typing import Array

MAGIC = b"MULDEMAP"
VERSION = 1
SCALE = 32_767
"""The integer that stands for the rim of the disk."""
NO_GROUP = 255

_EXPECTED = {
    "x": ("i2",),
    "y": ("i2",),
    "groups": ("u1",),
    "weights": ("u1",),
    "quality": ("f8",),
    **sections("group", PLAIN),
}


@dataclass(frozen=True)
class EntityMap:
    """Places, groups and weights of all entities.

    Attributes:
        x, y: int16 [E], ``SCALE`` times the coordinates, inside the unit disk.
        groups: uint8 [E], place of the entity's group in ``group_names``; ``NO_GROUP`` for none.
        weights: uint8 [E], 16 log2(1 + facts of the entity), at most 255: whose label comes first.
        group_names: G type names.
        variance: share of the points' variance that the map shows, 0 to 1.
        correlation: rank correlation of distances on the map and in the space, -1 to 1.
    """

    x: NDArray[np.int16]
    y: NDArray[np.int16]
    groups: NDArray[np.uint8]
    weights: NDArray[np.uint8]
    group_names: StringColumn
    variance: float
    correlation: float

    @property
    def num_entities(self) -> int:
        """E."""
        return len(self.x)

    def write(self, path: Path) -> None:
        """Write ``map.bin``, a new file."""
        names = column_arrays(self.group_names, "group")
        arrays: dict[str, Array] = {
            "x": self.x,
            "y": self.y,
            "groups": self.groups,
            "weights": self.weights,
            "quality": np.array([self.variance, self.correlation]),
            **{part: names[part] for part in sections("group", PLAIN)},
        }
        write_sections(path, MAGIC, VERSION, arrays)

    @classmethod
    def read(cls, path: Path, *, check: bool = True) -> EntityMap:
        """Map a ``map.bin``; ``check`` as in ``KnownFacts.read``.

        Raises:
            BundleError: if it is missing, damaged or foreign.
        """
        arrays = read_sections(path, MAGIC, VERSION, _EXPECTED)
        x, y, groups, weights = (arrays[name] for name in ("x", "y", "groups", "weights"))
        quality = arrays["quality"]
        if len({len(x), len(y), len(groups), len(weights)}) != 1 or quality.size != 2:
            raise BundleError(path, "expected a place, a group and a weight for each entity")
        names = read_column(path, "group", arrays)
        if check:
            check_column(path, "group names", names)
            _check_content(path, x, y, groups, quality, len(names))
        return cls(x, y, groups, weights, names, *quality.tolist())


def _check_content(
    path: Path, x: Array, y: Array, groups: Array, quality: Array, names: int
) -> None:
    if (np.square(x.astype(np.int64)) + np.square(y.astype(np.int64)) > SCALE**2).any():
        raise BundleError(path, "a place is outside the disk")
    if ((groups >= names) & (groups != NO_GROUP)).any():
        raise BundleError(path, f"a group is outside {names} groups")
    if not (np.isfinite(quality).all() and (np.abs(quality) <= 1).all()):
        raise BundleError(path, "its figures of quality must be -1 to 1")

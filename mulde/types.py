"""Entities per type, so that a query can ask for candidates of a kind: ``types.bin``.

Built-in types come from the graph: ``head:REL`` holds what occurs as head of the relation with id
REL, ``tail:REL`` what occurs as its tail. Others may come from a file ``entity<TAB>type``.

Shape letters: E entities, T types, M memberships.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError, DatasetError, shorten
from mulde.graph import read_text, split_fields
from mulde.sections import Array, check_offsets, read_sections, write_sections
from mulde.strings import Strings

MAGIC = b"MULDETYP"
VERSION = 1

_EXPECTED = {
    "sizes": ("u8",),
    "name.data": ("u1",),
    "name.offsets": ("u4", "u8"),
    "offsets": ("u4", "u8"),
    "entities": ("i4",),
}


@dataclass(frozen=True)
class EntityTypes:
    """Which entities have which type.

    Attributes:
        num_entities: E.
        names: T type names, sorted, distinct.
        offsets: [T + 1].
        entities: int32 [M], rows, ascending and distinct within a type.
    """

    num_entities: int
    names: Strings
    offsets: NDArray[np.unsignedinteger]
    entities: NDArray[np.int32]

    @classmethod
    def build(cls, members: Mapping[str, NDArray[np.integer]], entities: int) -> EntityTypes:
        """Pack entity rows per type name; a repeated row counts once.

        Raises:
            ValueError: if a row is outside E, or a name cannot be stored.
        """
        names = sorted(members)
        rows = [np.unique(np.asarray(members[name], dtype=np.int64)) for name in names]
        for name, part in zip(names, rows, strict=True):
            if part.size and (part[0] < 0 or part[-1] >= entities):
                raise ValueError(f"type {name!r}: expected rows of {entities} entities")
        sizes = np.array([0, *map(len, rows)], dtype=np.uint32)
        joined = np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int32)
        return cls(entities, Strings.build(names), np.cumsum(sizes), joined)

    @classmethod
    def of_graph(
        cls,
        triples: NDArray[np.integer],
        relation_ids: Sequence[str],
        entities: int,
        more: Mapping[str, NDArray[np.integer]] | None = None,
    ) -> EntityTypes:
        """The built-in types of triples [n, 3], and more from elsewhere.

        Raises:
            ValueError: as ``build``, or if one of ``more`` has the name of a built-in type.
        """
        members: dict[str, NDArray[np.integer]] = {}
        order = np.argsort(triples[:, 1], kind="stable")
        bounds = np.searchsorted(triples[order, 1], np.arange(len(relation_ids) + 1))
        for row, relation in enumerate(relation_ids):
            part = triples[order[bounds[row] : bounds[row + 1]]]
            members[f"head:{relation}"] = part[:, 0]
            members[f"tail:{relation}"] = part[:, 2]
        clash = sorted(set(more or {}) & set(members))
        if clash:
            raise ValueError(f"{clash[0]!r} is the name of a built-in type")
        return cls.build({**members, **(more or {})}, entities)

    def __len__(self) -> int:
        """T."""
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        """Whether there is a type of this name."""
        return isinstance(name, str) and self._place(name) is not None

    def of(self, name: str) -> NDArray[np.int32]:
        """Rows of the entities of a type, ascending; a view of the file.

        Raises:
            KeyError: if there is no such type.
        """
        place = self._place(name)
        if place is None:
            raise KeyError(name)
        return self.entities[int(self.offsets[place]) : int(self.offsets[place + 1])]

    def _place(self, name: str) -> int | None:
        place = int(self.names.lower_bounds([name])[0])
        found = place < len(self.names) and self.names[place] == name
        return place if found else None

    def write(self, path: Path) -> None:
        """Write ``types.bin``, a new file."""
        arrays: dict[str, Array] = {
            "sizes": np.array([self.num_entities], dtype=np.uint64),
            "name.data": self.names.data,
            "name.offsets": self.names.offsets,
            "offsets": self.offsets,
            "entities": self.entities,
        }
        write_sections(path, MAGIC, VERSION, arrays)

    @classmethod
    def read(cls, path: Path, *, check: bool = True) -> EntityTypes:
        """Map a ``types.bin``; ``check`` as in ``KnownFacts.read``.

        Raises:
            BundleError: if it is missing, damaged or foreign.
        """
        arrays = read_sections(path, MAGIC, VERSION, _EXPECTED)
        sizes, data, name_offsets, offsets, entities = (arrays[name] for name in _EXPECTED)
        if sizes.size != 1 or name_offsets.size == 0 or len(offsets) != len(name_offsets):
            raise BundleError(path, "expected one size, and an offset for each type and the end")
        types = cls(int(sizes[0]), Strings(data, name_offsets), offsets, entities)
        if check:
            types._check_content(path)
        return types

    def _check_content(self, path: Path) -> None:
        self.names.check(path, "type names")
        if not self.names.rising(np.arange(len(self)), strict=True):
            raise BundleError(path, "type names must be sorted and distinct")
        check_offsets(path, "offsets", self.offsets, len(self.entities))
        rows = self.entities
        if rows.size and (rows.min() < 0 or rows.max() >= self.num_entities):
            raise BundleError(path, f"a row is outside {self.num_entities} entities")
        falls = np.flatnonzero(rows[1:] <= rows[:-1]) + 1
        if not np.isin(falls, self.offsets).all():
            raise BundleError(path, "the rows of a type must rise")


def read_types(path: Path, entity_ids: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Types given in a file of lines ``entity<TAB>type``.

    Args:
        path: UTF-8 text, plain or ``.gz``.
        entity_ids: sorted; row i is the entity ``entity_ids[i]``.

    Returns:
        Entity rows by type name.

    Raises:
        DatasetError: naming the line that is malformed or names an unknown entity.
    """
    entities, names = split_fields(path, read_text(path), width=2)
    row = dict(zip(entity_ids, range(len(entity_ids)), strict=True))
    rows = np.array([row.get(entity, -1) for entity in entities])
    if (rows < 0).any():
        place = int(np.argmax(rows < 0))
        raise DatasetError(path, f"no entity is called {shorten(entities[place])}", place + 1)
    unique, which = np.unique(np.array(names, dtype=object), return_inverse=True)
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(1, len(unique)))
    return dict(zip(unique.tolist(), np.split(rows[order], bounds), strict=True))

"""Entities of each type, by which a query can restrict its candidates: ``types.bin``.

Built-in types come from the graph: ``head:REL`` holds the heads of the relation with id REL,
``tail:REL`` its tails. Others may come from a file ``entity<TAB>type``.

Shape letters: E entities, T types, N bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError, DatasetError, shorten
from mulde.graph.reading.lines import read_text, split_fields
from mulde.storage import varint as deltas
from mulde.storage.container import check_offsets, read_sections, write_sections
from mulde.storage.string_sections import PLAIN, check_column, column_arrays, read_column, sections
from mulde.storage.strings import StringColumn
from mulde.typing import Array, Bytes, Ints, Rows

MAGIC = b"MULDETYP"
VERSION = 1

_EXPECTED = {
    "sizes": ("u8",),
    "offsets": ("u8",),
    "members": ("u1",),
    **sections("name", PLAIN),
}


@dataclass(frozen=True)
class EntityTypes:
    """The entities of each type.

    Attributes:
        num_entities: E.
        names: T type names, sorted, distinct.
        offsets: uint64 [T + 1]; type i is ``members[offsets[i]:offsets[i + 1]]``.
        members: uint8 [N], rows, ascending and distinct within a type (``mulde.storage.varint``).
    """

    num_entities: int
    names: StringColumn
    offsets: NDArray[np.uint64]
    members: Bytes

    @classmethod
    def build(cls, members: Mapping[str, Ints], entities: int) -> EntityTypes:
        """Pack entity rows per type name; a repeated row counts once.

        Raises:
            ValueError: if a row is outside E, or a name cannot be stored.
        """
        names = sorted(members)
        rows = [np.unique(np.asarray(members[name], dtype=np.int64)) for name in names]
        for name, part in zip(names, rows, strict=True):
            if part.size and (part[0] < 0 or part[-1] >= entities):
                raise ValueError(f"type {name!r}: expected rows of {entities} entities")
        ends = np.cumsum([0, *map(len, rows)])
        packed, offsets = deltas.encode(np.concatenate([*rows, np.zeros(0, np.int64)]), ends)
        return cls(entities, StringColumn.build(names), offsets.astype(np.uint64), packed)

    @classmethod
    def of_graph(
        cls,
        triples: Ints,
        relation_ids: Sequence[str],
        entities: int,
        more: Mapping[str, Ints] | None = None,
    ) -> EntityTypes:
        """The built-in types of triples [n, 3], and further ones.

        Raises:
            ValueError: as ``build``, or if one of ``more`` has the name of a built-in type.
        """
        members: dict[str, Ints] = {}
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
        """Rows of the entities of a type, ascending.

        Raises:
            KeyError: if there is no such type.
        """
        place = self._place(name)
        if place is None:
            raise KeyError(name)
        return self._members(place)

    def _members(self, place: int) -> NDArray[np.int32]:
        part = self.members[int(self.offsets[place]) : int(self.offsets[place + 1])]
        return deltas.decode(part).astype(np.int32)

    def _place(self, name: str) -> int | None:
        place = bisect_left(self.names, name)
        return place if place < len(self) and self.names[place] == name else None

    def write(self, path: Path) -> None:
        """Write ``types.bin``, a new file."""
        names = column_arrays(self.names, "name")
        arrays: dict[str, Array] = {
            "sizes": np.array([self.num_entities], dtype=np.uint64),
            "offsets": self.offsets,
            "members": self.members,
            **{part: names[part] for part in sections("name", PLAIN)},
        }
        write_sections(path, MAGIC, VERSION, arrays)

    @classmethod
    def read(cls, path: Path, *, check: bool = True) -> EntityTypes:
        """Map a ``types.bin``; ``check`` as in ``KnownFacts.read``.

        Raises:
            BundleError: if it is missing, damaged or foreign.
        """
        arrays = read_sections(path, MAGIC, VERSION, _EXPECTED)
        sizes, names = arrays["sizes"], read_column(path, "name", arrays)
        if sizes.size != 1 or len(arrays["offsets"]) != len(names) + 1:
            raise BundleError(path, "expected one size, and an offset for each type and the end")
        types = cls(int(sizes[0]), names, arrays["offsets"], arrays["members"])
        if check:
            types._check_content(path)
        return types

    def _check_content(self, path: Path) -> None:
        check_column(path, "type names", self.names)
        if not self.names.rising(np.arange(len(self)), strict=True):
            raise BundleError(path, "type names must be sorted and distinct")
        check_offsets(path, "offsets", self.offsets, len(self.members))
        for place in range(len(self)):
            rows = self._members(place)
            if rows.size and (rows[0] < 0 or rows[-1] >= self.num_entities):
                raise BundleError(path, f"a row is outside {self.num_entities} entities")
            if (rows[1:] <= rows[:-1]).any():
                raise BundleError(path, "the rows of a type must rise")


def read_types(path: Path, entity_ids: Sequence[str]) -> dict[str, Rows]:
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

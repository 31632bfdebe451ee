"""Known facts: for each query (entity, relation, ?) the tails that are already true.

Relations 0..R-1 ask for tails, R..2R-1 are their reciprocals and ask for heads, so the known heads
of (?, r, t) are the known tails of (t, r + R, ?). Stored as compressed rows over sorted query keys
``relation * E + entity``, mapped.

Shape letters: n triples, E entities, R relations, Q queries with known facts, B queries of a
request, F known tails of all B queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from mulde.sections import Array, check_offsets, check_rising, read_sections, write_sections

MAGIC = b"MULDEKNO"
VERSION = 1

_EXPECTED = {
    "sizes": ("u8",),
    "keys": ("u8",),
    "offsets": ("u4", "u8"),
    "tails": ("i4",),
}


@dataclass(frozen=True)
class KnownFacts:
    """Known tails per query, both directions.

    Attributes:
        num_entities, num_relations: E and R.
        keys: uint64 [Q], ascending.
        offsets: uint32 or uint64 [Q + 1].
        tails: int32, ascending and distinct within a query.
    """

    num_entities: int
    num_relations: int
    keys: NDArray[np.uint64]
    offsets: NDArray[np.unsignedinteger]
    tails: NDArray[np.int32]

    @classmethod
    def build(cls, triples: NDArray[np.integer], entities: int, relations: int) -> KnownFacts:
        """Group triples [n, 3] (repeated ones count once) by query, in both directions.

        Raises:
            ValueError: if a row is outside E or R.
        """
        wide = np.asarray(triples, dtype=np.int64).reshape(-1, 3)
        limits = np.array([entities, relations, entities])
        if wide.size and ((wide < 0) | (wide >= limits)).any():
            raise ValueError(f"expected triples of {entities} entities and {relations} relations")
        head, relation, tail = wide.T
        keys = np.concatenate(
            [relation * entities + head, (relation + relations) * entities + tail]
        )
        tails = np.concatenate([tail, head])
        order = np.lexsort((tails, keys))
        keys, tails = keys[order], tails[order]
        fresh = np.ones(len(keys), dtype=bool)
        fresh[1:] = (keys[1:] != keys[:-1]) | (tails[1:] != tails[:-1])
        keys, tails = keys[fresh], tails[fresh]
        unique, first = np.unique(keys, return_index=True)
        offsets = np.append(first, len(tails))
        return cls(
            entities,
            relations,
            unique.astype(np.uint64),
            offsets.astype(np.uint32 if len(tails) < 2**32 else np.uint64),
            tails.astype(np.int32),
        )

    def __len__(self) -> int:
        """Number of facts, each direction counted."""
        return len(self.tails)

    def of(self, entity: int, relation: int) -> NDArray[np.int32]:
        """Known tails of one query, ascending; empty if none, a view of the file otherwise.

        Raises:
            IndexError: if ``entity`` is not in [0, E) or ``relation`` not in [0, 2R).
        """
        self._check(np.array([entity]), np.array([relation]))
        key = np.uint64(relation * self.num_entities + entity)
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            return self.tails[:0]
        return self.tails[int(self.offsets[place]) : int(self.offsets[place + 1])]

    def of_many(
        self, entities: NDArray[np.integer], relations: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Known tails of queries [B], as compressed rows.

        Returns:
            offsets [B + 1] and tails [F]: query i's are ``tails[offsets[i]:offsets[i + 1]]``.

        Raises:
            IndexError: as for ``of``.
        """
        starts, ends = self._bounds(entities, relations)
        sizes = ends - starts
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
        return offsets, self.tails[places]

    def contains(
        self,
        heads: NDArray[np.integer],
        relations: NDArray[np.integer],
        tails: NDArray[np.integer],
    ) -> NDArray[np.bool_]:
        """Whether each triple [B] is known; relations in [0, 2R)."""
        low, high = self._bounds(heads, relations)
        ends = high
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) // 2
            less = (low < high) & (self._tail(middle) < tails)
            low, high = np.where(less, middle + 1, low), np.where(less, high, middle)
        found: NDArray[np.bool_] = (low < ends) & (self._tail(low) == tails)
        return found

    def write(self, path: Path) -> None:
        """Write ``known.bin``, a new file."""
        arrays: dict[str, Array] = {
            "sizes": np.array([self.num_entities, self.num_relations], dtype=np.uint64),
            "keys": self.keys,
            "offsets": self.offsets,
            "tails": self.tails,
        }
        write_sections(path, MAGIC, VERSION, arrays)

    @classmethod
    def read(cls, path: Path, *, check: bool = True) -> KnownFacts:
        """Map a ``known.bin``.

        Args:
            path: the file.
            check: read it all and refuse unsound content; False only for a file that another
                process has just checked.

        Raises:
            BundleError: if it is missing, damaged or foreign.
        """
        arrays = read_sections(path, MAGIC, VERSION, _EXPECTED)
        sizes, keys, offsets, tails = (arrays[name] for name in _EXPECTED)
        if sizes.size != 2 or len(offsets) != len(keys) + 1:
            raise BundleError(path, "expected two sizes, and one offset more than keys")
        known = cls(int(sizes[0]), int(sizes[1]), keys, offsets, tails)
        if known.num_entities >= 2**31 or 2 * known.num_relations * known.num_entities >= 2**63:
            raise BundleError(path, "it claims more entities or queries than rows can number")
        if check:
            known._check_content(path)
        return known

    def _check_content(self, path: Path) -> None:
        check_offsets(path, "offsets", self.offsets, len(self.tails))
        if (self.keys[1:] <= self.keys[:-1]).any():
            raise BundleError(path, "its keys must rise")
        if self.keys.size and int(self.keys[-1]) >= 2 * self.num_relations * self.num_entities:
            raise BundleError(path, f"a key is outside {self.num_entities} entities")
        if self.tails.size and (self.tails.min() < 0 or self.tails.max() >= self.num_entities):
            raise BundleError(path, f"a known tail is outside {self.num_entities} entities")
        check_rising(path, "the known tails of a query", self.tails, self.offsets)

    def _bounds(
        self, entities: NDArray[np.integer], relations: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the tails of queries [B] start and end."""
        self._check(entities, relations)
        wanted = np.asarray(relations, dtype=np.int64) * self.num_entities + entities
        keys = wanted.astype(np.uint64)
        if not self.keys.size:
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found = self.keys[places] == keys
        starts = self.offsets[places].astype(np.int64)
        return starts, np.where(found, self.offsets[places + 1].astype(np.int64), starts)

    def _tail(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """Tails at places that may be one past the end; -1 if there are none at all."""
        if not self.tails.size:
            return np.full(len(places), -1, dtype=np.int32)
        return self.tails[np.minimum(places, len(self.tails) - 1)]

    def _check(self, entities: NDArray[np.integer], relations: NDArray[np.integer]) -> None:
        for values, limit, what in (
            (entities, self.num_entities, "entities"),
            (relations, 2 * self.num_relations, "relations, both directions"),
        ):
            if values.size and (values.min() < 0 or values.max() >= limit):
                raise IndexError(f"expected rows of {limit} {what}")

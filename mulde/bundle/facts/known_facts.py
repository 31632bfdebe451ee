"""Known facts: for each query (entity, relation, ?) the tails that are already true.

Relations 0..R-1 ask for tails, R..2R-1 are their reciprocals and ask for heads, so the known heads
of (?, r, t) are the known tails of (t, r + R, ?). Stored as compressed rows over sorted query keys
``relation * E + entity``, mapped; the tails of a query are packed as differences
(``mulde.storage.varint``). Version 1 of the file held them unpacked; it is packed when it is read.

Shape letters: n triples, E entities, R relations, Q queries with known facts, B queries of a
request, F known tails of all B queries, N bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from mulde.storage import varint as deltas
from mulde.storage.container import (
    check_offsets,
    check_rising,
    read_sections,
    write_sections,
)
from mulde.typing import Array, Bytes, Ints, Mask, Offsets, Rows

MAGIC = b"MULDEKNO"
VERSION = 2

_PIECE = 1 << 16
_BOTH = "relations, both directions"

_EXPECTED = {
    "sizes": ("u8",),
    "keys": ("u4", "u8"),
    "offsets": ("u4", "u8"),
    "tails": ("u1", "i4"),
}


@dataclass(frozen=True)
class KnownFacts:
    """Known tails of each query, in both directions.

    Attributes:
        num_entities, num_relations: E and R.
        size: number of facts, each direction counted.
        keys: uint32 or uint64 [Q], ascending.
        offsets: uint32 or uint64 [Q + 1], of each query in ``tails``.
        tails: uint8 [N], ascending and distinct within a query, as differences.
    """

    num_entities: int
    num_relations: int
    size: int
    keys: NDArray[np.unsignedinteger]
    offsets: NDArray[np.unsignedinteger]
    tails: Bytes

    @classmethod
    def build(cls, triples: Ints, entities: int, relations: int) -> KnownFacts:
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
        packed, offsets = deltas.encode(tails, np.append(first, len(tails)))
        last = 2 * relations * entities
        return cls(entities, relations, len(tails), _narrow(unique, last), _narrow(offsets), packed)

    def __len__(self) -> int:
        """Number of facts, each direction counted."""
        return self.size

    def of(self, entity: int, relation: int) -> NDArray[np.int32]:
        """Known tails of one query, ascending; empty if there are none.

        Raises:
            IndexError: if ``entity`` is not in [0, E) or ``relation`` not in [0, 2R).
        """
        self._check_one(entity, self.num_entities, "entities")
        self._check_one(relation, 2 * self.num_relations, _BOTH)
        key = relation * self.num_entities + entity
        # As a number of the keys' type: another would convert all Q of them.
        place = int(self.keys.searchsorted(self.keys.dtype.type(key)))
        if place == len(self.keys) or int(self.keys[place]) != key:
            return np.zeros(0, dtype=np.int32)
        return deltas.decode(self.tails[int(self.offsets[place]) : int(self.offsets[place + 1])])

    def of_many(self, entities: Ints, relations: Ints) -> tuple[Offsets, NDArray[np.int32]]:
        """Known tails of queries [B], as compressed rows.

        Returns:
            offsets [B + 1] and tails [F]: query i's are ``tails[offsets[i]:offsets[i + 1]]``.

        Raises:
            IndexError: as for ``of``.
        """
        if len(entities) == 1:  # what a server asks most, several times as quick
            tails = self.of(int(entities[0]), int(relations[0]))
            return np.array([0, len(tails)]), tails
        return self._tails_of(self._keys_of(entities, relations))

    def sizes(self, entities: Ints, relations: Ints) -> Rows:
        """Return the stored bytes of the known tails of queries [B]: at least their number.

        Raises:
            IndexError: as for ``of``.
        """
        places, found = self._find(self._keys_of(entities, relations))
        starts, ends = (self.offsets[at].astype(np.int64) for at in (places, places + found))
        return ends - starts

    def contains(
        self,
        heads: Ints,
        relations: Ints,
        tails: Ints,
    ) -> Mask:
        """Whether each triple [B] is known; relations in [0, 2R)."""
        asked, which = np.unique(self._keys_of(heads, relations), return_inverse=True)
        found = self._among(which, tails, *self._tails_of(asked))
        inside = (np.asarray(tails) >= 0) & (np.asarray(tails) < self.num_entities)
        known: Mask = found & inside
        return known

    def marks(
        self,
        entities: Ints,
        relations: Ints,
        offsets: Ints,
        tails: Ints,
    ) -> Mask:
        """Whether each of the tails [A] that queries [B] were answered with is known.

        Args:
            entities: [B].
            relations: [B], in [0, 2R).
            offsets: [B + 1]; query i's answers are ``tails[offsets[i]:offsets[i + 1]]``.
            tails: [A], in [0, E).

        Raises:
            IndexError: as for ``of``.
        """
        bounds, known = self.of_many(entities, relations)
        owners = np.repeat(np.arange(len(entities)), np.diff(offsets))
        return self._among(owners, tails, bounds, known)

    def _among(
        self,
        owners: Rows,
        tails: Ints,
        offsets: Rows,
        known: NDArray[np.int32],
    ) -> Mask:
        """Whether tails [A] are among the known ones, compressed rows, of their owners [A]."""
        if not len(known):
            return np.zeros(len(owners), dtype=bool)
        # Queries and tails as one rising number each, so that one search answers all.
        queries = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        facts, wanted = queries * self.num_entities + known, owners * self.num_entities + tails
        places = np.minimum(np.searchsorted(facts, wanted), len(facts) - 1)
        found: Mask = facts[places] == wanted
        return found

    def write(self, path: Path) -> None:
        """Write ``known.bin``, a new file."""
        arrays: dict[str, Array] = {
            "sizes": np.array([self.num_entities, self.num_relations, self.size], dtype=np.uint64),
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
        packed = tails.dtype == np.uint8
        if sizes.size != (3 if packed else 2) or len(offsets) != len(keys) + 1:
            raise BundleError(path, "expected its sizes, and one offset more than keys")
        entities, relations, size = (*sizes.tolist(), len(tails))[:3]
        if entities >= 2**31 or 2 * relations * entities > 2 ** min(63, 8 * keys.itemsize):
            raise BundleError(path, "it claims more entities or queries than rows can number")
        if not packed:
            tails, offsets = _packed(path, tails, offsets)
        known = cls(entities, relations, size, keys, offsets, tails)
        if check:
            known._check_content(path)
        return known

    def _check_content(self, path: Path) -> None:
        check_offsets(path, "offsets", self.offsets, len(self.tails))
        if (self.keys[1:] <= self.keys[:-1]).any():
            raise BundleError(path, "its keys must rise")
        if self.keys.size and int(self.keys[-1]) >= 2 * self.num_relations * self.num_entities:
            raise BundleError(path, f"a key is outside {self.num_entities} entities")
        ends = self.tails[self.offsets[1:][self.offsets[1:] > 0] - 1]
        if (ends >= 0x80).any():
            raise BundleError(path, "the known tails of a query must end with a whole number")
        size = 0
        for first in range(0, len(self.keys), _PIECE):
            stop = min(first + _PIECE, len(self.keys))
            bounds = self.offsets[first : stop + 1].astype(np.int64)
            stored = self.tails[bounds[0] : bounds[-1]]
            tails, offsets = deltas.decode_groups(stored, bounds - bounds[0])
            size += len(tails)
            if tails.size and (tails.min() < 0 or tails.max() >= self.num_entities):
                raise BundleError(path, f"a known tail is outside {self.num_entities} entities")
            check_rising(path, "the known tails of a query", tails, offsets)
        if size != self.size:
            raise BundleError(path, f"expected {self.size} known facts, found {size}")

    def _keys_of(self, entities: Ints, relations: Ints) -> Rows:
        """The keys of queries [B]."""
        self._check(entities, relations)
        return np.asarray(relations, dtype=np.int64) * self.num_entities + entities

    def _tails_of(self, keys: Rows) -> tuple[Offsets, NDArray[np.int32]]:
        """Known tails of keys [B], as compressed rows."""
        places, found = self._find(keys)
        offsets, tails = self._unpack(places, places + found)
        return offsets, tails

    def _find(self, keys: Rows) -> tuple[Rows, Rows]:
        """Places of keys [B], and 1 for those that are there, else 0."""
        wanted = keys.astype(self.keys.dtype)  # another type would convert all Q keys
        places = np.searchsorted(self.keys, wanted)
        found = np.zeros(len(keys), dtype=np.int64)
        if self.keys.size:
            found += self.keys[np.minimum(places, len(self.keys) - 1)] == wanted
        return places, found

    def _unpack(self, first: Rows, stop: Rows) -> tuple[Offsets, NDArray[np.int32]]:
        """Tails of the queries at ``first`` to ``stop`` [B], as compressed rows."""
        starts, ends = (self.offsets[places].astype(np.int64) for places in (first, stop))
        offsets = np.concatenate([[0], np.cumsum(ends - starts)])
        stored = np.empty(int(offsets[-1]), dtype=np.uint8)
        if len(starts):
            # Copied run by run in C: quicker than to gather every byte by its place.
            runs = map(slice, starts.tolist(), ends.tolist())
            np.concatenate(list(map(self.tails.__getitem__, runs)), out=stored)
        tails, bounds = deltas.decode_groups(stored, offsets)
        return bounds, tails

    def _check(self, entities: Ints, relations: Ints) -> None:
        for values, limit, what in (
            (entities, self.num_entities, "entities"),
            (relations, 2 * self.num_relations, _BOTH),
        ):
            if values.size:
                self._check_one(int(values.min()), limit, what)
                self._check_one(int(values.max()), limit, what)

    @staticmethod
    def _check_one(row: int, limit: int, what: str) -> None:
        if not 0 <= row < limit:
            raise IndexError(f"expected rows of {limit} {what}")


def _packed(path: Path, tails: Ints, offsets: Ints) -> tuple[Bytes, NDArray[np.unsignedinteger]]:
    """The tails of a file of version 1 as differences; refused if they cannot be packed."""
    check_offsets(path, "offsets", offsets, len(tails))
    bounds = offsets.astype(np.int64)
    check_rising(path, "the known tails of a query", tails, bounds)
    if tails.size and tails.min() < 0:
        raise BundleError(path, "a known tail is below 0")
    packed, starts = deltas.encode(tails, bounds)
    return packed, _narrow(starts)


def _narrow(values: Rows, limit: int | None = None) -> NDArray[np.unsignedinteger]:
    """As uint32 where values below ``limit`` (by default, up to the last one) fit, else uint64."""
    most = int(values[-1]) + 1 if limit is None else limit
    return values.astype(np.uint32 if most <= 2**32 else np.uint64)

"""Strings of triples -> sorted ids and int32 rows, chunk by chunk with Arrow.

A chunk's column is dictionary-encoded on its own; only distinct strings of each chunk are compared
with those of the others. So memory holds 12 bytes a triple and the distinct names.

Shape letters: n triples, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mulde.graph.reading.arrow import arrow_rows, numpy_of
from mulde.typing import Triples

Codes = NDArray[np.int32]
_CONTROL = r"[\x00\t\n\r]+"


class Column:
    """Values of one column in chunks: an index into a chunk's distinct strings each."""

    def __init__(self) -> None:
        self.codes: list[Codes] = []
        self.distinct: list[Any] = []

    def append(self, values: Any) -> None:
        """Add an Arrow array of strings, encoded or not."""
        encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        self.codes.append(numpy_of(encoded.indices).astype(np.int32))
        self.distinct.append(encoded.dictionary.cast(pa.large_string()))

    def release(self) -> None:
        """Drop the values."""
        self.codes, self.distinct = [], []


class TripleColumns:
    """Three columns that grow by chunks; entities are the values of head and tail together."""

    def __init__(self) -> None:
        self.columns = Column(), Column(), Column()
        self.chunk_rows: list[int] = []

    def append(self, heads: Any, relations: Any, tails: Any) -> None:
        """Add n triples as three Arrow arrays of strings."""
        for column, values in zip(self.columns, (heads, relations, tails), strict=True):
            column.append(values)
        self.chunk_rows.append(len(heads))

    def rows(self) -> tuple[Triples, Any, Any, int]:
        """Triples int32 [n, 3], entity ids [E], relation ids [R], names changed.

        Ids are sorted and distinct; characters that no line can hold (tab, line end, NUL) have
        become spaces. Empties this object.
        """
        heads, relations, tails = self.columns
        found = np.empty((sum(self.chunk_rows), 3), dtype=np.int32)
        entity_ids, maps, cleaned = _sorted_ids([*heads.distinct, *tails.distinct])
        relation_ids, relation_maps, more = _sorted_ids(relations.distinct)
        chunks = len(self.chunk_rows)
        maps_of = (maps[:chunks], relation_maps, maps[chunks:])
        for place, (column, new) in enumerate(zip(self.columns, maps_of, strict=True)):
            start = 0
            for codes, mapping in zip(column.codes, new, strict=True):
                found[start : start + len(codes), place] = mapping[codes]
                start += len(codes)
            column.release()
        self.chunk_rows = []
        return found, entity_ids, relation_ids, cleaned + more


def _sorted_ids(distinct: Sequence[Any]) -> tuple[Any, list[Codes], int]:
    """Sorted ids of all chunks, for each chunk its rows among them, and how many were cleaned."""
    if not distinct:
        return pa.array([], pa.large_string()), [], 0
    encoded = pa.chunked_array(distinct).dictionary_encode()
    ids = encoded.chunk(encoded.num_chunks - 1).dictionary if encoded.num_chunks else distinct[0]
    ids, cleaned_to, cleaned = _clean(ids)
    order = sorted_rows(ids)
    rank = np.empty(len(ids), dtype=np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    if cleaned_to is not None:
        rank = rank[cleaned_to]
    chunks = [rank[numpy_of(chunk.indices)] for chunk in encoded.chunks]
    return ids.take(arrow_rows(order)), _chunked_as(distinct, chunks), cleaned


def sorted_rows(names: Any) -> NDArray[np.int64]:
    """Rows of distinct names in the order of their UTF-8 bytes, [E].

    Numbers made of the 8 bytes behind what all names begin with decide most of the order, and are
    sorted some ten times as fast as names; Arrow sorts those names whose numbers are equal.
    """
    if not len(names):
        return np.zeros(0, dtype=np.int64)
    data, starts, sizes, common = _bytes_of(names)
    key = np.zeros(len(names), dtype=np.uint64)
    for place in range(common, common + 8):
        here = np.minimum(starts + place, len(data) - 1)
        key <<= np.uint64(8)
        key |= np.where(place < sizes, data[here], 0).astype(np.uint64)
    order = np.argsort(key, kind="stable")
    key = key[order]
    equal = np.zeros(len(key) + 1, dtype=bool)
    equal[1:-1] = key[1:] == key[:-1]
    tied = np.flatnonzero(equal[1:] | equal[:-1])
    if len(tied):
        rows = order[tied]
        order[tied] = rows[numpy_of(pc.sort_indices(names.take(arrow_rows(rows))))]
    return order


def _bytes_of(
    names: Any,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], int]:
    """All bytes, where each name starts, its size, and how many bytes all have in common."""
    _, offsets, content = names.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[names.offset : names.offset + len(names) + 1]
    data = np.frombuffer(content, dtype=np.uint8)
    low, high = (bound.as_py().encode() for bound in pc.min_max(names).values())
    common = next((n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return data, ends[:-1], np.diff(ends), common


def _chunked_as(distinct: Sequence[Any], chunks: list[Codes]) -> list[Codes]:
    """The same codes, divided as the chunks that they came from."""
    whole = np.concatenate(chunks) if chunks else np.zeros(0, np.int32)
    ends = np.cumsum([len(part) for part in distinct])
    return np.split(whole, ends[:-1])


def _clean(ids: Any) -> tuple[Any, Codes | None, int]:
    """Ids without tabs, line ends and NUL; where each went, if any changed; how many changed."""
    dirty = pc.sum(pc.match_substring_regex(ids, _CONTROL)).as_py() or 0
    if not dirty:
        return ids, None, 0
    encoded = pc.replace_substring_regex(ids, _CONTROL, " ").dictionary_encode()
    return encoded.dictionary, numpy_of(encoded.indices), dirty

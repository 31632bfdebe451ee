"""The facts of a graph before it is split, and the collector that every reader fills.

Shape letters: n facts, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mulde.errors import DatasetError, shorten
from mulde.graph.graph import Graph, keys_of, triples_of
from mulde.graph.labels import one_line
from mulde.graph.reading.arrow import arrow_names, numpy_of
from mulde.graph.reading.intern import TripleColumns
from mulde.graph.report import Counts
from mulde.storage.strings import MAX_BYTES
from mulde.typing import Triples


@dataclass(frozen=True)
class Facts:
    """Distinct triples in rows.

    Attributes:
        triples: int32 [n, 3], sorted by head, relation and tail.
        entity_ids: Arrow strings [E], sorted.
        relation_ids: Arrow strings [R], sorted.
        times: int64 [n], the rank of each fact's earliest time; None without a time column.
    """

    triples: Triples
    entity_ids: Any
    relation_ids: Any
    times: NDArray[np.int64] | None = None

    @classmethod
    def of_train(cls, graph: Graph) -> Facts:
        """The train facts of a graph, in their order there."""
        return cls(graph.train, arrow_names(graph.entity_ids), arrow_names(graph.relation_ids))

    def __len__(self) -> int:
        """n."""
        return len(self.triples)

    @property
    def size(self) -> tuple[int, int]:
        """E and R."""
        return len(self.entity_ids), len(self.relation_ids)


class Collector:
    """What readers find: triples in chunks, labels, types, and counts of what they left out.

    Attributes:
        labels: label by id, of entities and relations; the best of several by its rank.
        types: pairs of entity and type.
        counts: what was read and left out.
        first: by file, a first triple that may be a header.
        headers: by file, the name of the relation column in a first line taken as a header.
    """

    def __init__(self) -> None:
        self._triples, self._times = TripleColumns(), list[Any]()
        self._ranked: dict[str, tuple[tuple[int, ...], str]] = {}
        self.types: list[tuple[str, str]] = []
        self.counts = Counts()
        self.first: list[tuple[str, tuple[str, str, str]]] = []
        self.headers: list[tuple[str, str]] = []

    def add(
        self, source: str | Path, columns: Iterable[Any], times: Any = None, row: int = 1
    ) -> None:
        """Add triples.

        Args:
            source: where they are from, for errors.
            columns: Arrow arrays of heads, relations and tails.
            times: an Arrow array with the time of each.
            row: the number of the first one in its source.

        Raises:
            DatasetError: naming the row with an empty or missing name.
        """
        encoded = [_encoded(column, source, name, row) for name, column in zip(
            ("subject", "predicate", "object"), columns, strict=True)]  # fmt: skip
        if not len(encoded[0]):
            return
        self._triples.append(*encoded)
        self.counts.triples += len(encoded[0])
        if times is not None:
            self._times.append(times)

    def label(self, key: str, text: str, rank: tuple[int, ...] = ()) -> None:
        """Give an id a label, unless it has one with a lower rank."""
        held = self._ranked.get(key)
        if (held is None or rank < held[0]) and (text := one_line(text)):
            self._ranked[key] = rank, text

    @property
    def labels(self) -> dict[str, str]:
        """Label by id."""
        return {key: text for key, (_, text) in self._ranked.items()}

    def facts(self, source: str) -> Facts:
        """All triples, each once; counts duplicates. Empties the collector.

        Raises:
            DatasetError: if there are none, or a name is too long to be stored.
        """
        triples, entity_ids, relation_ids, cleaned = self._triples.rows()
        if not len(triples):
            left = self.counts.left_out_text()
            raise DatasetError(source, f"expected at least one triple, found none{left}")
        for ids in (entity_ids, relation_ids):
            _refuse_long(source, ids)
        self.counts.cleaned_names = cleaned
        size = len(entity_ids), len(relation_ids)
        keys = keys_of(triples, *size)
        times = self._ranks_of_times(source, len(triples)) if self._times else None
        del triples
        if times is None:
            keys.sort()
            kept = np.ones(len(keys), dtype=bool)
            kept[1:] = keys[1:] != keys[:-1]
        else:
            order = np.lexsort((times, keys))
            keys, times = keys[order], times[order]
            kept = np.ones(len(keys), dtype=bool)
            kept[1:] = keys[1:] != keys[:-1]
            times = times[kept]
        self.counts.duplicates = int(len(keys) - kept.sum())
        return Facts(triples_of(keys[kept], *size), entity_ids, relation_ids, times)

    def _ranks_of_times(self, source: str, n: int) -> NDArray[np.int64]:
        """Ranks of times: as numbers if all are numbers, else as text (ISO 8601 sorts rightly)."""
        times = pa.chunked_array(self._times)
        if len(times) != n or times.null_count:
            raise DatasetError(source, "expected a time for each triple, found some without")
        try:
            times = times.cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            times = times.cast(pa.string())
        encoded = times.combine_chunks().dictionary_encode()
        order = numpy_of(pc.sort_indices(encoded.dictionary))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        ranks: NDArray[np.int64] = rank[numpy_of(encoded.indices)]
        return ranks


def _encoded(column: Any, source: str | Path, name: str, row: int) -> Any:
    """A column of names as dictionary-encoded strings; whole numbers become their digits."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        found = f"expected text or whole numbers in column {name}, found {kind}"
        raise DatasetError(source, found)
    if column.null_count:
        place = pc.index(pc.is_null(column), True).as_py()
        raise DatasetError(source, f"row {row + place}: no {name}")
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = encoded.dictionary.cast(pa.large_string())
    try:
        names.validate(full=True)
    except pa.ArrowInvalid as error:
        raise DatasetError(source, f"column {name}: expected UTF-8: {error}") from error
    encoded = pa.DictionaryArray.from_arrays(encoded.indices, names)
    empty = np.flatnonzero(numpy_of(pc.binary_length(names)) == 0)
    if len(empty):
        place = int(np.argmax(numpy_of(encoded.indices) == empty[0]))
        raise DatasetError(source, f"row {row + place}: no {name}")
    return encoded


def _is_text(kind: Any) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _refuse_long(source: str, ids: Any) -> None:
    sizes = numpy_of(pc.binary_length(ids))
    row = int(np.argmax(sizes))
    if sizes[row] > MAX_BYTES:
        found = f"found {sizes[row]}: {shorten(ids[row].as_py())}"
        raise DatasetError(source, f"expected names of at most {MAX_BYTES} bytes, {found}")

"""Graphs in Python: networkx, PyKEEN's TriplesFactory, and any iterable of triples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from mulde.errors import DatasetError, shorten
from mulde.graph.facts import Collector
from mulde.graph.formats.neo4j import NAMES
from mulde.graph.reading.arrow import arrow_rows
from mulde.graph.reading.options import ReadOptions

_BATCH = 100_000
_EDGE_NAMES = ("relation", "predicate", "label", "type")


def read_networkx(graph: Any, options: ReadOptions, found: Collector) -> None:
    """Collect edges and node labels.

    An edge's relation is its attribute ``relation``, ``predicate``, ``label`` or ``type``, its key
    in a multigraph if that is text, or ``options.relation``.

    Raises:
        DatasetError: naming the edge without a relation.
    """
    found.counts.sources.append(f"networkx {type(graph).__name__}")
    if not graph.is_directed():
        found.counts.sources.append("undirected edges: each is one fact, from its first end")
    read_iterable("networkx graph", _edges(graph, options.relation), found)
    for node, attributes in graph.nodes(data=True):
        for rank, name in enumerate(NAMES):
            if isinstance(attributes.get(name), str):
                found.label(str(node), attributes[name], (rank,))


def _edges(graph: Any, relation: str | None) -> Iterator[tuple[Any, Any, Any]]:
    multi = graph.is_multigraph()
    edges = graph.edges(data=True, keys=True) if multi else graph.edges(data=True)
    for head, tail, *key, attributes in edges:
        name = next((attributes[one] for one in _EDGE_NAMES if one in attributes), None)
        if name is None:
            name = key[0] if key and isinstance(key[0], str) else relation
        if name is None:
            expected = f"expected an attribute {', '.join(_EDGE_NAMES)} of each edge"
            problem = f"{expected}, found none at {shorten((head, tail))}; or give relation="
            raise DatasetError("networkx graph", problem)
        yield head, name, tail


def read_factory(factory: Any, found: Collector) -> None:
    """Collect the triples of a PyKEEN TriplesFactory."""
    found.counts.sources.append("PyKEEN TriplesFactory")
    rows = np.asarray(factory.mapped_triples).astype(np.int32)
    maps = (factory.entity_to_id, factory.relation_to_id, factory.entity_to_id)
    found.add(
        "TriplesFactory",
        [
            pa.DictionaryArray.from_arrays(arrow_rows(rows[:, place]), _names(ids))
            for place, ids in enumerate(maps)
        ],
    )


def _names(ids: dict[str, int]) -> Any:
    names = [""] * (max(ids.values()) + 1)
    for name, row in ids.items():
        names[row] = str(name)
    return pa.array(names, pa.large_string())


def read_iterable(name: str, triples: Iterable[Any], found: Collector) -> None:
    """Collect triples of text or whole numbers.

    Raises:
        DatasetError: naming the item that is none.
    """
    iterator, row = iter(triples), 1
    while batch := list(islice(iterator, _BATCH)):
        for place, item in enumerate(batch):
            if isinstance(item, str) or not hasattr(item, "__len__") or len(item) != 3:
                problem = f"item {row + place}: expected three names, found {shorten(item)}"
                raise DatasetError(name, problem)
        try:
            columns = [_column(column) for column in zip(*batch, strict=True)]
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
            raise DatasetError(name, f"items {row} and following: {error}") from error
        found.add(name, columns, None, row)
        row += len(batch)


def _column(values: tuple[Any, ...]) -> Any:
    whole = all(issubclass(kind, (int, np.integer)) for kind in set(map(type, values)))
    return pa.array(values, pa.int64() if whole else pa.string()).cast(pa.string())

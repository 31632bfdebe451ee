"""Tables, networkx graphs, triples in memory: the same facts as from a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mulde.errors import DatasetError
from mulde.graph import read_graph
from tests.mulde.graph.graph_files import (
    FACTS,
    facts,
    frame,
)


def factory() -> Any:
    triples = pytest.importorskip("pykeen.triples", exc_type=ImportError)
    return triples.TriplesFactory.from_labeled_triples(np.array(FACTS))


SOURCES: dict[str, Callable[[], Any]] = {
    "pandas": frame,
    "pandas categories": lambda: frame().astype("category"),
    "polars": lambda: pl.DataFrame(frame().to_dict("list")),
    "arrow": lambda: pa.Table.from_pandas(frame()),
    "list": lambda: FACTS,
    "generator": lambda: (fact for fact in FACTS),
    "numpy": lambda: np.array(FACTS),
    "networkx multigraph": lambda: nx.MultiDiGraph([(h, t, r) for h, r, t in FACTS]),
    "networkx": lambda: nx.DiGraph([(h, t, {"relation": r}) for h, r, t in FACTS]),
    "pykeen": factory,
}


@pytest.mark.parametrize("name", SOURCES)
def test_an_object_gives_its_facts(name: str) -> None:
    assert facts(read_graph(SOURCES[name]())) == sorted(FACTS)


def test_labels_of_networkx_nodes_are_kept() -> None:
    graph = nx.DiGraph()
    graph.add_node(1, name="Anna")
    graph.add_edge(1, 2, label="knows")
    data = read_graph(graph)
    assert facts(data) == [("1", "knows", "2")]
    assert data.labels == {"1": "Anna"}


def test_whole_numbers_are_names_and_other_numbers_are_refused() -> None:
    table = pd.DataFrame({"subject": [1, 2], "predicate": ["p", "p"], "object": [3, 4]})
    assert facts(read_graph(table)) == [("1", "p", "3"), ("2", "p", "4")]
    table["object"] = [0.5, 1.5]
    with pytest.raises(DatasetError, match="column object, found double"):
        read_graph(table)


def test_a_missing_value_is_named_by_its_row() -> None:
    table = frame()
    table.loc[3, "object"] = None
    with pytest.raises(DatasetError, match="row 4: no object"):
        read_graph(table)


def test_an_item_that_is_no_triple_is_named() -> None:
    with pytest.raises(DatasetError, match=r"item 2: expected three names, found \('a', 'b'\)"):
        read_graph([("a", "r", "b"), ("a", "b")])


def test_an_edge_without_a_relation_is_named() -> None:
    with pytest.raises(DatasetError, match=r"found none at \(0, 1\); or give relation="):
        read_graph(nx.path_graph(3))


def test_text_in_memory_is_not_taken_for_triples() -> None:
    with pytest.raises(DatasetError, match="item 1: expected three names"):
        read_graph(io.StringIO("a\tr\tb\n"))

"""Every format gives the same facts; files are written by the tools that people use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulde.errors import ConfigError, DatasetError
from mulde.graph import read_graph
from tests.mulde.graph.graph_files import (
    FACTS,
    NAMES,
    WRITERS,
    Fact,
    facts,
    frame,
    tsv,
)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_gives_its_facts(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    data = read_graph(path)
    assert facts(data) == sorted(FACTS)
    assert (data.report.triples, data.report.entities, data.report.relations) == (5, 5, 2)


def test_columns_are_chosen_by_name_number_and_order(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    table = frame().set_axis(["a", "b", "c"], axis=1)
    table.insert(0, "weight", 0.5)
    table.to_csv(path, index=False)
    assert facts(read_graph(path, columns=("a", "b", "c"))) == sorted(FACTS)
    assert facts(read_graph(path, columns=("2", "3", "4"), header=True)) == sorted(FACTS)
    mirrored = sorted((tail, relation, head) for head, relation, tail in FACTS)
    assert facts(read_graph(path, columns=("c", "b", "a"))) == mirrored


def test_several_files_are_one_graph(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(tsv(), encoding="utf-8")
    frame().iloc[:2].to_csv(tmp_path / "b.csv", index=False)
    (tmp_path / "c.tsv").write_text("dora\tknows\tanna\n")
    data = read_graph([tmp_path / "a.tsv", tmp_path / "b.csv", tmp_path / "c.tsv"])
    assert facts(data) == sorted([*FACTS, ("dora", "knows", "anna")])
    assert data.report.triples - data.report.facts == 2


def test_an_edge_list_takes_the_relation_that_is_named(tmp_path: Path) -> None:
    nx.write_edgelist(nx.path_graph(4), tmp_path / "edges.csv", delimiter=",", data=False)
    data = read_graph(tmp_path / "edges.csv", columns=("1", "2"), relation="next")
    assert facts(data) == [("0", "next", "1"), ("1", "next", "2"), ("2", "next", "3")]


def test_label_and_type_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("anna\tAnna\tfirst\nknows\tis a friend of\n")
    (tmp_path / "types.tsv").write_text("anna\tPerson\n")
    data = read_graph(FACTS, labels=[tmp_path / "labels.tsv"], types=[tmp_path / "types.tsv"])
    assert data.labels == {"anna": "Anna", "knows": "is a friend of"}
    assert data.types == [("anna", "Person")]


def test_label_and_type_files_may_be_csv_with_a_header(tmp_path: Path) -> None:
    labels = pd.DataFrame({"id": ["anna", "ben"], "name": ["Anna, the first", 'Ben "B"']})
    labels.to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame({"entity": ["anna"], "type": ["Person"]}).to_csv(tmp_path / "t.csv", index=False)
    data = read_graph(FACTS, labels=[tmp_path / "labels.csv"], types=[tmp_path / "t.csv"])
    assert data.labels == {"anna": "Anna, the first", "ben": 'Ben "B"'}
    assert data.types == [("anna", "Person")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("anna\n", r":1: expected id<TAB>label"),
        ("anna\tAnna\nanna\tAnne\n", r":2: 'anna' has another label too, 'Anna'"),
        ("anna\t" + "x" * 5000, r":1: expected names of at most 4096 bytes, found 5000"),
    ],
)
def test_a_bad_label_file_is_refused_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "labels.tsv").write_text(content)
    with pytest.raises(DatasetError, match=rf"labels\.tsv{said}"):
        read_graph(FACTS, labels=[tmp_path / "labels.tsv"])


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="colums"):
        read_graph(FACTS, colums=("a", "b", "c"))
    (tmp_path / "x").write_text("a")
    with pytest.raises(ConfigError, match=r"--format: expected one of tsv, .*found 'xlsx'"):
        read_graph(tmp_path / "x", format="xlsx")


def test_only_line_feeds_end_lines(tmp_path: Path) -> None:
    """Python's splitlines knows seven more."""
    odd = [("a\x85b", "r\u2028s", "c\x1cd"), ("e\x0bf", "r", "g\x0ch"), ("i", "r", "j")]
    path = tmp_path / "facts.tsv"
    path.write_text("".join("\t".join(fact) + "\n" for fact in odd), encoding="utf-8")
    assert facts(read_graph(path)) == sorted(odd)


WRITTEN: dict[str, Callable[[dict[str, list[str]], Path], Any]] = {
    "csv": lambda columns, path: pd.DataFrame(columns).to_csv(path, index=False),
    "parquet": lambda columns, path: pl.DataFrame(columns).write_parquet(path),
    "jsonl": lambda columns, path: pl.DataFrame(columns).write_ndjson(path),
}
cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0"), min_size=1)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(cell, cell, cell), min_size=1), suffix=st.sampled_from(sorted(WRITTEN))
)
def test_any_table_is_read_back_as_pandas_or_polars_wrote_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Fact], suffix: str
) -> None:
    path = tmp_path_factory.mktemp("any") / f"facts.{suffix}"
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    WRITTEN[suffix](columns, path)
    assert facts(read_graph(path, header=True if suffix == "csv" else None)) == sorted(set(rows))

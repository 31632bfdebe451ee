"""Every format gives the same facts; files are written by the tools that people use."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as st
from rdflib.namespace import RDF, RDFS, SKOS

from mulde.errors import ConfigError, DatasetError
from mulde.graph import read_graph
from mulde.graph.reading.read import GraphData

Fact = tuple[str, str, str]
FACTS: list[Fact] = [
    ("anna", "knows", "ben"),
    ("ben", "knows", "cem"),
    ("cem", "lives in", "köln"),
    ("anna", "lives in", "bonn"),
    ("ben", "lives in", "köln"),
]
NAMES = ["subject", "predicate", "object"]
EX = rdflib.Namespace("http://example.org/")


def facts(data: GraphData) -> list[Fact]:
    """The facts by name."""
    ids = (data.facts.entity_ids, data.facts.relation_ids, data.facts.entity_ids)
    columns = [one.take(data.facts.triples[:, place]) for place, one in enumerate(ids)]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def frame() -> pd.DataFrame:
    return pd.DataFrame(FACTS, columns=NAMES)


def jsonl(path: Path) -> None:
    rows = [dict(zip(NAMES, fact, strict=True)) for fact in FACTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def zstd(path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(tsv().encode())


def tsv() -> str:
    return "".join("\t".join(fact) + "\n" for fact in FACTS)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "plain.tsv": lambda path: path.write_text(tsv(), encoding="utf-8"),
    "plain.txt": lambda path: path.write_text(tsv(), encoding="utf-8"),
    "crlf.tsv": lambda path: path.write_bytes(tsv().replace("\n", "\r\n").encode()),
    "bom.tsv": lambda path: path.write_text(tsv(), encoding="utf-8-sig"),
    "utf16.tsv": lambda path: path.write_text(tsv(), encoding="utf-16"),
    "no_last_line_end.tsv": lambda path: path.write_text(tsv().rstrip(), encoding="utf-8"),
    "packed.tsv.gz": lambda path: path.write_bytes(gzip.compress(tsv().encode())),
    "packed.tsv.bz2": lambda path: path.write_bytes(bz2.compress(tsv().encode())),
    "packed.tsv.zst": zstd,
    "pandas.csv": lambda path: frame().to_csv(path, index=False),
    "pandas_header.tsv": lambda path: frame().to_csv(path, index=False, sep="\t"),
    "semicolon.csv": lambda path: frame().to_csv(path, index=False, sep=";"),
    "quoted.csv": lambda path: frame().to_csv(path, index=False, quoting=csv.QUOTE_ALL),
    "quoted.tsv": lambda path: frame().to_csv(path, index=False, sep="\t", quoting=csv.QUOTE_ALL),
    "no_header.csv": lambda path: frame().to_csv(path, index=False, header=False),
    "pandas.parquet": lambda path: frame().to_parquet(path),
    "polars.parquet": lambda path: pl.DataFrame(frame().to_dict("list")).write_parquet(path),
    "polars.csv": lambda path: pl.DataFrame(frame().to_dict("list")).write_csv(path),
    "pandas.jsonl": lambda path: frame().to_json(path, orient="records", lines=True),
    "polars.ndjson": lambda path: pl.DataFrame(frame().to_dict("list")).write_ndjson(path),
    "plain.jsonl": jsonl,
}


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


# Tables and objects in Python


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


# RDF

RDF_FORMATS = {"nt": "nt", "ttl": "turtle", "rdf": "xml", "jsonld": "json-ld"}


def rdf_graph() -> rdflib.Graph:
    graph = rdflib.Graph()
    for head, relation, tail in FACTS:
        graph.add((EX[head], EX[relation.replace(" ", "_")], EX[tail]))
    for language, text in (("de", "Köln"), ("en", "Cologne"), (None, "Colonia")):
        graph.add((EX["köln"], RDFS.label, rdflib.Literal(text, lang=language)))
    graph.add((EX["anna"], SKOS.prefLabel, rdflib.Literal("Anna")))
    graph.add((EX["anna"], RDF.type, EX["Person"]))
    graph.add((EX["anna"], EX["age"], rdflib.Literal(7)))
    graph.add((rdflib.BNode(), EX["knows"], EX["anna"]))
    return graph


def iris() -> list[Fact]:
    made = [(EX[h], EX[r.replace(" ", "_")], EX[t]) for h, r, t in FACTS]
    return sorted((str(h), str(r), str(t)) for h, r, t in made)


@pytest.mark.parametrize("suffix", RDF_FORMATS)
def test_rdf_gives_facts_labels_and_types_and_counts_the_rest(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"facts.{suffix}"
    rdf_graph().serialize(path, format=RDF_FORMATS[suffix], encoding="utf-8")
    data = read_graph(path)
    assert facts(data) == iris()
    assert data.labels == {str(EX["köln"]): "Cologne", str(EX["anna"]): "Anna"}
    assert data.types == [(str(EX["anna"]), str(EX["Person"]))]
    assert data.report.left_out == {
        "label statements, taken as labels": 4,
        "rdf:type statements, taken as types": 1,
        "statements with a literal (--literals keeps them)": 1,
        "statements with a blank node (--blank-nodes keeps them)": 1,
    }


def test_n_quads_of_all_graphs_are_one(tmp_path: Path) -> None:
    path = tmp_path / "facts.nq"
    text = "<http://e/a> <http://e/r> <http://e/b> <http://e/g{}> .\n"
    path.write_text(text.format(1) + text.format(2))
    data = read_graph(path)
    assert facts(data) == [("http://e/a", "http://e/r", "http://e/b")]
    assert data.report.findings[0].count == 1


@pytest.mark.parametrize(
    ("languages", "label"), [(("de",), "Köln"), (("fr", "en"), "Cologne"), (("fr",), "Colonia")]
)
def test_the_language_of_labels_is_chosen(
    tmp_path: Path, languages: tuple[str, ...], label: str
) -> None:
    rdf_graph().serialize(tmp_path / "facts.nt", format="nt", encoding="utf-8")
    data = read_graph(tmp_path / "facts.nt", languages=languages)
    assert data.labels[str(EX["köln"])] == label


def test_literals_and_blank_nodes_are_kept_on_request(tmp_path: Path) -> None:
    rdf_graph().serialize(tmp_path / "facts.nt", format="nt", encoding="utf-8")
    data = read_graph(tmp_path / "facts.nt", literals=True, blank_nodes=True)
    integer = "http://www.w3.org/2001/XMLSchema#integer"
    anna = str(EX.anna)
    more = [(anna, str(EX.age), f'"7"^^<{integer}>'), ("_:f0b0", str(EX.knows), anna)]
    assert facts(data) == sorted([*iris(), *more])


def test_an_rdf_syntax_error_names_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "facts.nt"
    path.write_text("<http://e/a> <http://e/r> <http://e/b> .\n<http://e/a> <http://e/r> oops .\n")
    with pytest.raises(DatasetError, match=r"facts\.nt:2: column \d+: "):
        read_graph(path)


# Neo4j: written as its manual shows apoc.export.csv.all and apoc.export.json.all

NEO4J_CSV = """"_id","_labels","age","name","_start","_end","_type","since"
"0",":Person:Adult","42","Anna","","","",""
"1",":Person","","Ben","","","",""
"2",":City","","Köln","","","",""
,,,,"0","1","KNOWS","1999"
,,,,"1","2","LIVES_IN",""
"""
NEO4J_JSON = [
    {"type": "node", "id": "0", "labels": ["Person", "Adult"], "properties": {"name": "Anna"}},
    {"type": "node", "id": "1", "labels": ["Person"], "properties": {"name": "Ben", "age": 3}},
    {"type": "node", "id": "2", "labels": ["City"], "properties": {"name": "Köln"}},
    {"id": "0", "type": "relationship", "label": "KNOWS", "properties": {"since": 1999},
     "start": {"id": "0", "labels": ["Person"]}, "end": {"id": "1", "labels": ["Person"]}},
    {"id": "1", "type": "relationship", "label": "LIVES_IN",
     "start": {"id": "1", "labels": ["Person"]}, "end": {"id": "2", "labels": ["City"]}},
]  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_an_export_of_neo4j_gives_facts_labels_and_types(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"all.{suffix}"
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in NEO4J_JSON)
    path.write_text(NEO4J_CSV if suffix == "csv" else lines, encoding="utf-8")
    data = read_graph(path)
    assert facts(data) == [("0", "KNOWS", "1"), ("1", "LIVES_IN", "2")]
    assert data.labels == {"0": "Anna", "1": "Ben", "2": "Köln"}
    assert sorted(data.types) == [("0", "Adult"), ("0", "Person"), ("1", "Person"), ("2", "City")]


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


# Headers


@pytest.mark.parametrize(
    "header",
    ["subject,predicate,object", "head,relation,tail", "source,type,target", "h,r,t", "s,p,o",
     ":START_ID(Person),:TYPE,:END_ID(Person)", "node1,label,node2", "Subject,Predicate,Object",
     '"fromNode","edgeType","toNode"'],
)  # fmt: skip
@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_header_is_never_a_fact(tmp_path: Path, header: str, separator: str) -> None:
    path = tmp_path / "facts.txt"
    lines = [header, *map(",".join, FACTS)]
    path.write_text("\n".join(lines).replace(",", separator), encoding="utf-8")
    if '"' in header and separator == "\t":
        pytest.skip("a quoted header over unquoted lines of TSV")
    assert facts(read_graph(path)) == sorted(FACTS)


def test_a_first_line_that_may_be_a_header_is_refused_until_the_user_says(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("person,verb_used,friend\n" + "\n".join(map(",".join, FACTS)))
    with pytest.raises(DatasetError, match=r"facts\.csv:1: .* is it a header\? type --header or"):
        read_graph(path)
    assert facts(read_graph(path, header=True)) == sorted(FACTS)
    assert len(read_graph(path, header=False).facts) == len(FACTS) + 1


def test_a_header_that_is_also_a_relation_is_refused_until_the_user_says(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("s,p,o\na,p,b\nb,p,c\n")
    with pytest.raises(DatasetError, match="'p' is a relation too; type --header or --no-header"):
        read_graph(path)
    assert facts(read_graph(path, header=False)) == [
        ("a", "p", "b"), ("b", "p", "c"), ("s", "p", "o"),
    ]  # fmt: skip


def test_a_header_in_a_graph_folder_is_refused(tmp_path: Path) -> None:
    from mulde.graph.graph import read_folder

    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text("head\trelation\ttail\n" * (name == "train") + tsv())
    with pytest.raises(DatasetError, match=r"train\.txt:1: expected a triple, found a header"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "name", ["pandas.parquet", "plain.jsonl", "plain.tsv", "facts.nt", "facts.ttl", "facts.rdf"]
)
def test_a_name_that_tells_no_format_is_no_hindrance(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name in WRITERS:
        WRITERS[name](path)
    else:
        rdf_graph().serialize(path, format=RDF_FORMATS[path.suffix[1:]], encoding="utf-8")
    expected = facts(read_graph(path))
    for other in ("dump", "facts.data", "facts.txt"):
        assert facts(read_graph(path.rename(tmp_path / other))) == expected
        path = tmp_path / other


def test_numbers_of_columns_do_not_hide_a_header(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("person,verb_used,friend\n" + "\n".join(map(",".join, FACTS)))
    with pytest.raises(DatasetError, match="is it a header"):
        read_graph(path, columns=("1", "2", "3"))


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="colums"):
        read_graph(FACTS, colums=("a", "b", "c"))
    (tmp_path / "x").write_text("a")
    with pytest.raises(ConfigError, match=r"--format: expected one of tsv, .*found 'xlsx'"):
        read_graph(tmp_path / "x", format="xlsx")


def test_text_in_memory_is_not_taken_for_triples() -> None:
    with pytest.raises(DatasetError, match="item 1: expected three names"):
        read_graph(io.StringIO("a\tr\tb\n"))


def test_blank_lines_before_the_header_are_passed_over(tmp_path: Path) -> None:
    for name in ("facts.csv", "facts.tsv"):
        separator = "," if name == "facts.csv" else "\t"
        lines = ["", "", separator.join(NAMES), *map(separator.join, FACTS)]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        assert facts(read_graph(tmp_path / name)) == sorted(FACTS)


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

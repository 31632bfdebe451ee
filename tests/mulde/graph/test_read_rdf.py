"""RDF and exports of Neo4j: facts, labels and types, and what is left out is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mulde.errors import DatasetError
from mulde.graph import read_graph
from tests.mulde.graph.graph_files import (
    EX,
    FACTS,
    RDF_FORMATS,
    Fact,
    facts,
    rdf_graph,
)


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

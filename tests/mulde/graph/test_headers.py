"""A header is never a fact, and what may be one is refused until the user says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mulde.errors import DatasetError
from mulde.graph import read_graph
from tests.mulde.graph.graph_files import (
    FACTS,
    NAMES,
    RDF_FORMATS,
    WRITERS,
    facts,
    rdf_graph,
    tsv,
)


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


def test_blank_lines_before_the_header_are_passed_over(tmp_path: Path) -> None:
    for name in ("facts.csv", "facts.tsv"):
        separator = "," if name == "facts.csv" else "\t"
        lines = ["", "", separator.join(NAMES), *map(separator.join, FACTS)]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        assert facts(read_graph(tmp_path / name)) == sorted(FACTS)

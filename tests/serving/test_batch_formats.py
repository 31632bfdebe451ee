"""Answers as CSV for curators and as RDF: what they say, and that they can be read again."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pandas as pd
import pyoxigraph
import pytest

from mulde.errors import DatasetError
from mulde.graph import read_graph
from serving.batch.predict import Output, complete, predict_file
from serving.batch.predictor import JobOptions
from serving.batch.rdf_terms import node
from tests.support.toy import Toy, toy_bundle

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return toy_bundle(tmp_path_factory.mktemp("formats") / "toy", entities=60, relations=2)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One question for a tail by id, one for a head by labels."""
    path = tmp_path_factory.mktemp("questions") / "q.tsv"
    path.write_text("Q0000007\tP1\t?\n?\trelation 0\tthing 9\n")
    return path


def answer(asked: Path, toy: Toy, out: Path) -> Path:
    predict_file(asked, toy.path, Output(out), JobOptions(k=3), workers=1)
    return out


def test_a_curator_sees_facts_by_their_ids(toy: Toy, asked: Path, tmp_path: Path) -> None:
    with answer(asked, toy, tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["accept"] for row in rows] == [""] * 6
    assert {(row["subject"], row["predicate"]) for row in rows[:3]} == {("Q0000007", "P1")}
    assert {(row["predicate"], row["object"]) for row in rows[3:]} == {("P0", "Q0000009")}
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)


def test_what_a_curator_accepts_is_read_as_facts(toy: Toy, asked: Path, tmp_path: Path) -> None:
    path = answer(asked, toy, tmp_path / "a.csv")
    table = pd.read_csv(path, dtype={"accept": str})
    table["accept"] = ["yes", "no", "", "X", None, "accepted"]
    table.to_csv(path, index=False)
    wanted = table.iloc[[0, 3, 5]][["subject", "predicate", "object"]].to_numpy().tolist()
    for source in (path, table):
        data = read_graph(source)
        facts = data.facts
        found = [
            [
                facts.entity_ids[h].as_py(),
                facts.relation_ids[r].as_py(),
                facts.entity_ids[t].as_py(),
            ]
            for h, r, t in facts.triples
        ]
        assert sorted(found) == sorted(wanted)
        assert data.report.left_out == {"rows that the column accept does not accept": 3}


def test_a_file_in_which_a_curator_accepted_nothing_has_no_facts(
    toy: Toy, asked: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="found none; left out: 6 rows that the column accept"):
        read_graph(answer(asked, toy, tmp_path / "a.csv"))


def test_statements_have_score_and_probability_and_assert_nothing(
    toy: Toy, asked: Path, tmp_path: Path
) -> None:
    answer(asked, toy, tmp_path / "a.tsv")
    path = answer(asked, toy, tmp_path / "a.nt")
    table = pd.read_csv(tmp_path / "a.tsv", sep="\t")
    quads = list(pyoxigraph.parse(path=path, format=pyoxigraph.RdfFormat.N_TRIPLES))
    assert len(quads) == 6 * 6
    told: dict[str, dict[str, str]] = {}
    for quad in quads:
        told.setdefault(str(quad.subject), {})[quad.predicate.value] = quad.object.value
    for row, statement in zip(table.itertuples(), told.values(), strict=True):
        assert statement[f"{RDF}type"] == f"{RDF}Statement"
        assert f"urn:mulde:{row.answer}" in statement.values()
        assert float(statement["urn:mulde:probability"]) == row.probability
        assert float(statement["urn:mulde:score"]) == row.score
    with pytest.raises(DatasetError, match="expected at least one triple, found none"):
        read_graph(path)


def test_zipped_text_holds_the_same(toy: Toy, asked: Path, tmp_path: Path) -> None:
    for ending in ("csv", "nt"):
        plain = answer(asked, toy, tmp_path / f"a.{ending}").read_bytes()
        packed = answer(asked, toy, tmp_path / f"a.{ending}.gz").read_bytes()
        assert gzip.decompress(packed) == plain


def test_a_completed_graph_is_written_as_statements(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "missing.nt"
    tally = complete(toy.path, Output(out), JobOptions(min_probability=0.0), workers=1)
    quads = pyoxigraph.parse(path=out, format=pyoxigraph.RdfFormat.N_TRIPLES)
    subjects = {str(quad.subject) for quad in quads}
    assert len(subjects) == tally.answers > 0


@pytest.mark.parametrize(
    ("name", "term"),
    [
        ("http://e.org/a", "<http://e.org/a>"),
        ("urn:isbn:1", "<urn:isbn:1>"),
        ("Metallica", "<urn:mulde:Metallica>"),
        ("a b/ü", "<urn:mulde:a%20b%2F%C3%BC>"),
        ("x: y", "<urn:mulde:x%3A%20y>"),
        ('"5"^^<http://www.w3.org/2001/XMLSchema#int>',) * 2,
        ('"x"@en',) * 2,
        ('"', "<urn:mulde:%22>"),
        ("_:f0b1",) * 2,
        ("", "<urn:mulde:>"),
    ],
)
def test_any_name_is_a_term_that_parsers_accept(name: str, term: str) -> None:
    assert node(name) == term
    subject = "<urn:s>" if term.startswith('"') else term
    line = f"{subject} <urn:p> {term} .\n".encode()
    assert len(list(pyoxigraph.parse(line, pyoxigraph.RdfFormat.N_TRIPLES))) == 1

"""What is held out by time and by entity."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mulde.cli import app
from mulde.errors import ConfigError
from mulde.graph import read_graph, split_graph
from mulde.graph.graph import SPLITS, Graph, read_folder
from mulde.graph.reading.read import GraphData


def table(facts: int = 2000, entities: int = 200) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    rows = generator.integers(0, [entities, 4, entities], size=(facts, 3)).tolist()
    named = [(f"e{h}", f"r{r}", f"e{t}") for h, r, t in rows]
    made = pd.DataFrame(named, columns=["subject", "predicate", "object"])
    made["day"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.permutation(facts), "D")
    made["day"] = made["day"].dt.strftime("%Y-%m-%d")
    return made


def pairs(graph: Graph, split: str) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in graph.split(split)[:, [0, 2]].tolist()}


def times_of(data: GraphData, graph: Graph, split: str) -> list[int]:
    assert data.facts.times is not None
    when = dict(
        zip(map(tuple, data.facts.triples.tolist()), data.facts.times.tolist(), strict=True)
    )
    return [when[tuple(fact)] for fact in graph.split(split).tolist()]


def test_by_time_the_latest_facts_are_held_out_and_no_pair_is_in_two_splits() -> None:
    data = read_graph(table(), time="day")
    graph = split_graph(data, by="time", valid=0.1, test=0.1).graph
    assert not pairs(graph, "train") & (pairs(graph, "valid") | pairs(graph, "test"))
    assert not pairs(graph, "valid") & pairs(graph, "test")
    valid, test = times_of(data, graph, "valid"), times_of(data, graph, "test")
    assert max(valid) < min(test) or max(valid) <= max(test)
    earliest = {name: min(times_of(data, graph, name)) for name in SPLITS}
    assert earliest["train"] < earliest["valid"] < earliest["test"]
    later = [t for t in times_of(data, graph, "train") if t > earliest["valid"]]
    assert len(later) < 0.05 * len(graph.train)  # of pairs that had an earlier fact


@pytest.mark.parametrize("days", [range(100, 0, -1), [f"{n:03}" for n in range(100, 0, -1)]])
def test_times_are_numbers_or_text(days: list[int] | list[str]) -> None:
    facts = pd.DataFrame(
        [(f"e{n}", "r", f"e{n + 1}", day) for n, day in enumerate(days)],
        columns=["subject", "predicate", "object", "when"],
    )
    graph = split_graph(read_graph(facts, time="when"), by="time", valid=0.1, test=0.1).graph
    names = [{graph.entity_ids[row] for row in graph.split(name)[:, 0]} for name in SPLITS]
    assert names[2] == {f"e{n}" for n in range(10)}
    assert names[1] == {f"e{n}" for n in range(10, 20)}


def test_a_repeated_fact_keeps_its_earliest_time() -> None:
    facts = pd.DataFrame(
        [("a", "r", "b", 5), ("a", "r", "b", 2), ("b", "r", "c", 3)],
        columns=["subject", "predicate", "object", "when"],
    )
    data = read_graph(facts, time="when")
    assert data.facts.times is not None
    assert data.facts.times.tolist() == [0, 1]


def test_by_entity_train_knows_none_of_the_held_out_entities() -> None:
    data = read_graph(table())
    graph = split_graph(data, by="entity", valid=0.1, test=0.1).graph
    known = set(graph.train[:, [0, 2]].ravel().tolist())
    for name in ("valid", "test"):
        ends = graph.split(name)[:, [0, 2]].tolist()
        assert all(not known >= set(pair) for pair in ends)
        assert graph.unseen[name] == len(ends) >= 0.1 * len(data.facts) * 0.9
    assert set(graph.train[:, 1].tolist()) == set(range(4))
    total = sum(len(graph.split(name)) for name in SPLITS)
    assert total == len(data.facts)


@pytest.mark.parametrize("by", ["random", "time", "entity"])
def test_the_folder_is_read_back_as_the_split_said(tmp_path: Path, by: str) -> None:
    data = read_graph(table(), time="day")
    graph = split_graph(data, tmp_path / "g", by=by).graph
    again = read_folder(tmp_path / "g")
    for name in SPLITS:
        assert np.array_equal(graph.split(name), again.split(name))
    for field in ("entity_ids", "relation_ids", "digest", "name", "duplicates", "leaked", "unseen"):
        assert getattr(graph, field) == getattr(again, field)


def test_a_split_in_memory_is_that_of_the_folder(tmp_path: Path) -> None:
    data = read_graph(table())
    assert split_graph(data).graph.digest == split_graph(data, tmp_path / "g").graph.digest


def test_labels_and_types_of_the_source_are_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("e1\tOne\nr0\tknows\nelsewhere\tMoon\n")
    (tmp_path / "types.tsv").write_text("e1\tPerson\nelsewhere\tPlanet\n")
    data = read_graph(table(), labels=[tmp_path / "labels.tsv"], types=[tmp_path / "types.tsv"])
    split_graph(data, tmp_path / "g")
    assert (tmp_path / "g" / "labels.tsv").read_text() == "e1\tOne\n"
    assert (tmp_path / "g" / "relation_labels.tsv").read_text() == "r0\tknows\n"
    assert (tmp_path / "g" / "types.tsv").read_text() == "e1\tPerson\n"


def test_a_split_by_time_needs_times() -> None:
    with pytest.raises(ConfigError, match="--by time: expected a column with times"):
        split_graph(read_graph(table()), by="time")


def test_another_way_to_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="--by: expected one of random, time, entity"):
        split_graph(read_graph(table()), by="relation")


# The commands


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["data", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_splits_a_table_by_time(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "facts.csv", index=False)
    run("split", tmp_path / "facts.csv", "--by", "time", "--time", "day", "-o", tmp_path / "g")
    expected = split_graph(read_graph(table(), time="day"), by="time").graph
    assert read_folder(tmp_path / "g").digest == expected.digest


def test_the_command_checks_files_before_they_are_split(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "facts.csv", index=False)
    figures = json.loads(run("check", tmp_path / "facts.csv", "--json"))
    assert (figures["triples"], figures["relations"]) == (2000, 4)
    assert "2,000 triples read" in run("check", tmp_path / "facts.csv")


@pytest.mark.parametrize("suffix", ["tsv", "csv", "parquet"])
def test_what_is_converted_is_the_same_graph(tmp_path: Path, suffix: str) -> None:
    table().to_csv(tmp_path / "facts.csv", index=False)
    out = tmp_path / f"out.{suffix}"
    run("convert", tmp_path / "facts.csv", "-o", out)
    assert (
        split_graph(read_graph(out)).graph.digest == split_graph(read_graph(table())).graph.digest
    )


def test_labels_and_types_are_converted_too(tmp_path: Path) -> None:
    (tmp_path / "f.nt").write_text(
        "<http://e/a> <http://e/r> <http://e/b> .\n"
        '<http://e/a> <http://www.w3.org/2000/01/rdf-schema#label> "A\\tB"@en .\n'
        "<http://e/a> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://e/T> .\n"
    )
    run("convert", tmp_path / "f.nt", "-o", tmp_path / "out.tsv")
    assert (tmp_path / "out.tsv").read_text() == "http://e/a\thttp://e/r\thttp://e/b\n"
    assert (tmp_path / "out.labels.tsv").read_text() == "http://e/a\tA B\n"
    assert (tmp_path / "out.types.tsv").read_text() == "http://e/a\thttp://e/T\n"

"""Facts added to a split graph and removed from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mulde.errors import DatasetError
from mulde.graph.changes import ChangedGraph, changed, write_changed
from mulde.graph.graph import SPLITS, Graph, read_folder
from mulde.graph.labels import read_descriptions
from mulde.graph.reading.read import read_graph
from tests.support.tiny import triples, write_tiny_graph

Rows = list[tuple[str, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_graph(tmp_path / "old")


@pytest.fixture
def old(folder: Path) -> Graph:
    return read_folder(folder)


def facts(graph: Graph, split: str) -> set[tuple[str, str, str]]:
    """The facts of a split by their names."""
    ids, names = graph.entity_ids, graph.relation_ids
    return {(ids[h], names[r], ids[t]) for h, r, t in graph.split(split).tolist()}


def change(old: Graph, add: Rows, remove: Rows) -> ChangedGraph:
    given = [read_graph(rows).facts if rows else None for rows in (add, remove)]
    return changed(old, *given)


def written(old: Graph, out: Path, add: Rows, remove: Rows, source: Path | None = None) -> Graph:
    found = change(old, add, remove)
    write_changed(found, old, out, (), source)
    return read_folder(out)


def test_added_facts_are_there_and_removed_ones_are_not(old: Graph, tmp_path: Path) -> None:
    gone = sorted(facts(old, "train"))[0], sorted(facts(old, "valid"))[0]
    new = ("fresh", "next", "e03")
    graph = written(old, tmp_path / "new", [new], [*gone])
    now = {split: facts(graph, split) for split in SPLITS}
    assert now["train"] == facts(old, "train") - {gone[0]} | {new}
    assert now["valid"] == facts(old, "valid") - {gone[1]}
    assert now["test"] == facts(old, "test")


def test_descriptions_of_a_graph_without_a_folder_are_written(old: Graph, tmp_path: Path) -> None:
    found = change(old, [("e00", "next", "e03")], [])
    write_changed(found, old, tmp_path / "new", (), None, {"e00": "the first", "gone": "no entity"})
    assert read_descriptions(tmp_path / "new" / "labels.tsv") == {"e00": "the first"}


def test_a_share_of_many_added_facts_is_held_out(old: Graph) -> None:
    names = [f"new{number}" for number in range(10)]
    new = [(name, "next", f"e{number:02d}") for name in names for number in range(20)]
    found = change(old, new, [])
    more = {split: len(found.splits[split]) - len(old.split(split)) for split in SPLITS}
    assert more == {"train": 180, "valid": 10, "test": 10}


def all_trained(old: Graph) -> Graph:
    """The graph as a bundle carries it: every fact is in train."""
    none = old.train[:0]
    return replace(old, train=old.all_triples, valid=none, test=none)


def test_new_facts_of_known_entities_are_held_out_though_no_two_share_one(old: Graph) -> None:
    """Failed before: train's own facts did not count."""
    pairs = [(f"e{n:02}", "beside", f"e{n + 1:02}") for n in range(0, 20, 2)]
    found = change(all_trained(old), [("fresh", "next", "e03"), *pairs], [])
    assert len(found.splits["valid"]) == len(found.splits["test"]) == 1
    held = np.concatenate([found.splits["valid"], found.splits["test"]])
    names = found.entity_ids.to_pylist()
    assert "fresh" not in {names[row] for row in held[:, [0, 2]].ravel().tolist()}


def test_too_few_new_facts_for_a_graph_without_held_out_ones_are_refused(old: Graph) -> None:
    with pytest.raises(DatasetError, match=r"at least 4 new facts.*found 2.*--data"):
        change(all_trained(old), [("e00", "beside", "e05"), ("e01", "beside", "e09")], [])


def test_few_facts_for_a_split_graph_are_all_trained_on(old: Graph) -> None:
    new = [(f"e{n:02}", "beside", f"e{n + 7:02}") for n in range(10)]
    assert change(old, new, []).added == 10
    assert len(change(old, new, []).splits["valid"]) == len(old.valid)


def test_known_facts_are_passed_over(old: Graph) -> None:
    known = sorted(facts(old, "test"))[0]
    found = change(old, [known, ("e00", "beside", "e07")], [])
    assert (found.added, found.known, found.removed) == (1, 1, 0)


def test_held_out_facts_of_a_relation_that_train_lost_go_to_train(tmp_path: Path) -> None:
    old = read_folder(write_tiny_graph(tmp_path / "old"))
    mirrored = [fact for fact in triples() if fact[1] == "mirror"]
    held = facts(old, "valid") | facts(old, "test")
    gone = [fact for fact in mirrored if fact not in held]
    graph = written(old, tmp_path / "new", [], gone)
    kept = {fact for fact in mirrored if fact in held}
    assert kept
    assert kept <= facts(graph, "train")


def test_descriptions_types_and_licence_are_kept(folder: Path, tmp_path: Path) -> None:
    (folder / "labels.tsv").write_text("e00\tzero\tthe first\n")
    (folder / "types.tsv").write_text("e00\tnumber\n")
    (folder / "LICENSE").write_text("free\n")
    graph = written(
        read_folder(folder), tmp_path / "new", [("e00", "next", "e09")], [], source=folder
    )
    assert graph.entity_labels[0] == "zero"
    assert (tmp_path / "new" / "labels.tsv").read_text() == "e00\tzero\tthe first\n"
    assert (tmp_path / "new" / "types.tsv").read_text() == "e00\tnumber\n"
    assert (tmp_path / "new" / "LICENSE").read_text() == "free\n"


@pytest.mark.parametrize(
    ("add", "remove", "problem"),
    [
        ([("e00", "next", "e07")], [("e00", "next", "e07")], "both added and removed"),
        ([], [("e00", "next", "e07")], "the graph does not have it"),
        ([("Q1", "P1", "Q2")], [], "another vocabulary"),
        ([("e00", "next", "e01")], [], "expected a fact that the graph lacks"),
    ],
)
def test_changes_that_do_not_fit_are_refused(
    old: Graph, add: Rows, remove: Rows, problem: str
) -> None:
    with pytest.raises(DatasetError, match=problem):
        change(old, add, remove)

"""Own triples become a graph folder whose train gives no held-out fact away."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mulde.cli import app
from mulde.errors import ConfigError, DatasetError
from mulde.graph import read_graph
from mulde.graph.graph import SPLITS, Graph, read_folder
from mulde.graph.splitting.automatic import split_automatically
from mulde.graph.splitting.hold_out import hash_names, hold_out
from mulde.graph.splitting.split import split_graph

Fact = tuple[str, str, str]


def made_up(seed: int = 0, entities: int = 40, facts: int = 300) -> list[Fact]:
    """Random facts over three relations; some pairs have several, some lines are repeated."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, [entities, 3, entities], size=(facts, 3)).tolist()
    return [(f"é{head}", f"r{relation}", f"é{tail}") for head, relation, tail in rows]


def write(path: Path, facts: list[Fact]) -> Path:
    path.write_text("".join("\t".join(fact) + "\n" for fact in facts), encoding="utf-8")
    return path


def read_back(folder: Path) -> dict[str, list[Fact]]:
    """The facts of each split, by name."""
    texts = {name: (folder / f"{name}.txt").read_text("utf-8") for name in SPLITS}
    return {name: [tuple(line.split("\t")) for line in texts[name].splitlines()] for name in SPLITS}  # type: ignore[misc]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def ends(graph: Graph, split: str) -> set[frozenset[int]]:
    """Unordered pairs of entities."""
    return {frozenset(pair) for pair in graph.split(split)[:, [0, 2]].tolist()}


@pytest.mark.parametrize("seed", range(5))
def test_all_facts_between_two_entities_are_in_one_split(tmp_path: Path, seed: int) -> None:
    source = write(tmp_path / "own.tsv", made_up(seed))
    graph = split_graph(
        read_graph(source), tmp_path / "g", valid=0.1, test=0.1, symmetric=["r1"]
    ).graph
    train, valid, test = (ends(graph, name) for name in SPLITS)
    assert not train & valid
    assert not train & test
    assert not valid & test


@pytest.mark.parametrize("seed", range(5))
def test_train_has_every_entity_and_relation(tmp_path: Path, seed: int) -> None:
    source = write(tmp_path / "own.tsv", made_up(seed, entities=60, facts=150))
    graph = split_graph(read_graph(source), tmp_path / "g").graph
    assert graph.unseen == {"valid": 0, "test": 0}
    assert set(graph.train[:, 1].tolist()) == set(range(graph.num_relations))


def test_no_fact_is_lost_or_invented(tmp_path: Path) -> None:
    facts = made_up()
    made = split_graph(read_graph(write(tmp_path / "own.tsv", facts)), tmp_path / "g")
    found = [fact for split in read_back(tmp_path / "g").values() for fact in split]
    assert sorted(found) == sorted(set(facts))
    assert made.data.report.triples - made.data.report.facts == len(facts) - len(set(facts)) > 0
    assert made.added == 0


def test_shares_are_of_the_facts(tmp_path: Path) -> None:
    ring = [
        (f"e{place}", "next", f"e{(place + step) % 50}") for place in range(50) for step in (1, 7)
    ]
    graph = split_graph(
        read_graph(write(tmp_path / "r.tsv", ring)), tmp_path / "g", valid=0.1, test=0.2
    ).graph
    assert {name: len(graph.split(name)) for name in SPLITS} == {
        "train": 70, "valid": 10, "test": 20,
    }  # fmt: skip


def test_the_missing_direction_of_a_symmetric_fact_is_added(tmp_path: Path) -> None:
    facts = [*made_up(), ("left", "r1", "right"), ("right", "r1", "left"), ("one", "r1", "other")]
    made = split_graph(
        read_graph(write(tmp_path / "own.tsv", facts)), tmp_path / "g", symmetric=["r1"]
    )
    found = {fact for split in read_back(tmp_path / "g").values() for fact in split}
    mirrored = {(tail, "r1", head) for head, relation, tail in facts if relation == "r1"}
    assert found == set(facts) | mirrored
    assert made.added == len(mirrored - set(facts))
    assert ("other", "r1", "one") in found


def test_the_order_of_lines_does_not_matter(tmp_path: Path) -> None:
    facts = made_up()
    split_graph(read_graph(write(tmp_path / "a.tsv", facts)), tmp_path / "a")
    split_graph(read_graph(write(tmp_path / "b.tsv", facts[::-1])), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_another_seed_holds_out_other_facts(tmp_path: Path) -> None:
    source = write(tmp_path / "own.tsv", made_up())
    split_graph(read_graph(source), tmp_path / "a", seed=1)
    split_graph(read_graph(source), tmp_path / "b", seed=2)
    assert read_back(tmp_path / "a")["test"] != read_back(tmp_path / "b")["test"]


def test_a_graph_that_grows_keeps_most_held_out_facts_held_out(tmp_path: Path) -> None:
    facts = made_up(entities=100, facts=2000)
    split_graph(read_graph(write(tmp_path / "a.tsv", facts[:1800])), tmp_path / "a")
    split_graph(read_graph(write(tmp_path / "b.tsv", facts)), tmp_path / "b")
    before, after = (set(read_back(tmp_path / name)["test"]) for name in "ab")
    assert len(before & after) > 0.8 * len(before)


def test_the_order_of_pairs_is_pinned() -> None:
    assert hash_names(["a", "b", "Zürich"], 0).tolist() == [
        8533312999071412559, 1203465007106799156, 3922181534250608162,
    ]  # fmt: skip
    assert hash_names(["a"], 0) != hash_names(["a"], 1)


def test_what_can_be_held_out_of_a_triangle_is_one_pair() -> None:
    # The last pair in the order keeps two entities in train, the one before it the third.
    triangle = np.array([[0, 0, 1], [1, 0, 2], [0, 0, 2]])
    with pytest.raises(ValueError, match=r"expected 2 of 3 facts .* found 1 whose"):
        hold_out(triangle, hash_names("abc", 0), 0.3, 0.3)


def test_compressed_files_with_windows_line_ends_are_read_too(tmp_path: Path) -> None:
    plain = write(tmp_path / "own.tsv", made_up())
    packed = tmp_path / "own.tsv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes().replace(b"\n", b"\r\n")))
    split_graph(read_graph(plain), tmp_path / "a")
    split_graph(read_graph(packed), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_labels_come_along(tmp_path: Path) -> None:
    source = write(tmp_path / "own.tsv", made_up())
    labels, words = tmp_path / "names.tsv", tmp_path / "words.tsv"
    labels.write_text("é1\tEmil\ta person\né2\tErna\n", encoding="utf-8")
    words.write_text("r0\tknows\n", encoding="utf-8")
    split_graph(read_graph(source, labels=[labels, words]), tmp_path / "g")
    graph = read_folder(tmp_path / "g")
    assert graph.entity_labels[graph.entity_ids.index("é1")] == "Emil"
    assert graph.relation_labels[0] == "knows"


def test_damaged_labels_are_blamed_on_their_own_file(tmp_path: Path) -> None:
    source = write(tmp_path / "own.tsv", made_up())
    labels = tmp_path / "names.tsv"
    labels.write_text("é1\tEmil\né2\n", encoding="utf-8")
    with pytest.raises(DatasetError) as caught:
        split_graph(read_graph(source, labels=[labels]), tmp_path / "g")
    assert (caught.value.path, caught.value.line) == (labels, 2)
    assert not (tmp_path / "g").exists()


def test_a_malformed_line_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    source = tmp_path / "own.tsv"
    source.write_text("a\tr\tb\na\tr\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"own\.tsv:2: expected 3 fields separated by"):
        split_graph(read_graph(source), tmp_path / "g")
    assert list(tmp_path.iterdir()) == [source]


def test_too_few_triples_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "own.tsv", [("a", "r", "b"), ("b", "r", "c")])
    with pytest.raises(DatasetError, match=r"own\.tsv: expected 2 of 2 facts to hold out"):
        split_graph(read_graph(source), tmp_path / "g", name=str(source))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"valid": 0.0}, "--valid: expected a share above 0 and below 1, found 0.0"),
        ({"test": float("nan")}, "--test: expected a share above 0 and below 1, found nan"),
        ({"valid": 0.5, "test": 0.5}, "expected shares that leave something to train, found 1.0"),
        ({"symmetric": ["r1", "r9"]}, "--symmetric: expected a relation of .*, found 'r9'"),
    ],
)
def test_a_bad_option_is_refused(tmp_path: Path, options: dict[str, float], said: str) -> None:
    source = write(tmp_path / "own.tsv", made_up())
    with pytest.raises(ConfigError, match=said):
        split_graph(read_graph(source), tmp_path / "g", **options)  # type: ignore[arg-type]


def test_a_folder_that_is_there_is_only_replaced_on_request(tmp_path: Path) -> None:
    source = write(tmp_path / "own.tsv", made_up())
    split_graph(read_graph(source), tmp_path / "g")
    before = content(tmp_path / "g")
    with pytest.raises(ConfigError, match="--out: expected a folder that does not exist"):
        split_graph(read_graph(source), tmp_path / "g", seed=1)
    assert content(tmp_path / "g") == before
    split_graph(read_graph(source), tmp_path / "g", seed=1, overwrite=True)
    assert content(tmp_path / "g") != before


def test_nothing_but_an_earlier_split_is_ever_replaced(tmp_path: Path) -> None:
    source = write(tmp_path / "own.tsv", made_up())
    split_graph(read_graph(source), tmp_path / "g")
    (tmp_path / "g" / "notes.md").write_text("mine")
    for target, foreign in ((tmp_path / "g", "notes.md"), (source, "own.tsv")):
        with pytest.raises(ConfigError, match=rf"nothing but an earlier split, .*{foreign}"):
            split_graph(read_graph(source), target, overwrite=True)
    assert (tmp_path / "g" / "notes.md").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = write(tmp_path / "own.tsv", made_up())
    with pytest.raises(DatasetError, match=r"own\.tsv/g: cannot be written"):
        split_graph(read_graph(source), source / "g")


def test_the_command_shows_what_came_of_it(tmp_path: Path) -> None:
    facts = [*made_up(), ("left", "r1", "right"), ("left", "r1", "right"), ("right", "r0", "é1")]
    source = write(tmp_path / "own.tsv", facts)
    arguments = ["data", "split", str(source), "-o", str(tmp_path / "g"), "--symmetric", "r1"]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, said.output
    graph = read_folder(tmp_path / "g")
    assert re.search(rf"train │ +{len(graph.train)} │", said.stdout)
    assert graph.digest in said.stdout
    assert "9 repeated triples: kept once" in said.stderr


def test_an_automatic_split_holds_out_fewer_where_most_facts_are_the_last_of_an_entity(
    tmp_path: Path,
) -> None:
    tree = [(f"n{(child - 1) // 6}", "parent of", f"n{child}") for child in range(1, 200)]
    told = split_automatically(read_graph(tree), tmp_path / "g")
    graph = read_folder(tmp_path / "g")
    assert 0 < len(graph.valid) < 20
    assert 0 < len(graph.test) < 20
    assert graph.unseen == {"valid": 0, "test": 0}
    assert "10% each was wanted" in told


def test_an_automatic_split_of_a_star_says_that_train_misses_entities(tmp_path: Path) -> None:
    star = [("hub", "r", f"leaf{number}") for number in range(100)]
    told = split_automatically(read_graph(star), tmp_path / "g")
    graph = read_folder(tmp_path / "g")
    assert (len(graph.valid), len(graph.test)) == (10, 10)
    assert graph.unseen == {"valid": 10, "test": 10}
    assert "entities that train does not know" in told


def test_an_automatic_split_of_two_facts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected 2 of 2 facts to hold out"):
        split_automatically(read_graph([("a", "r", "b"), ("b", "r", "c")]), tmp_path / "g")

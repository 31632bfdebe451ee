"""Graph reading: what is accepted, counted and refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulde.errors import DatasetError
from mulde.graph.graph import SPLITS, Graph, read_folder
from mulde.graph.reading.intern import sorted_rows
from mulde.storage.strings import MAX_BYTES
from tests.support.tiny import write_split, write_tiny_graph

GOOD = {"train": "b\tr\ta\na\tr\tc\n", "valid": "c\tr\ta\n", "test": "c\tr\tb\n"}


def write(folder: Path, **texts: str | bytes) -> Path:
    """The splits of GOOD with ``texts`` in their place, byte by byte."""
    folder.mkdir(exist_ok=True)
    for name in SPLITS:
        text = texts.get(name, GOOD[name])
        raw = text.encode() if isinstance(text, str) else text
        (folder / f"{name}.txt").write_bytes(raw)
    return folder


def names(graph: Graph, split: str) -> list[tuple[str, str, str]]:
    """The triples of a split by id."""
    entity, relation = graph.entity_ids, graph.relation_ids
    return [(entity[h], relation[r], entity[t]) for h, r, t in graph.split(split).tolist()]


def same(left: Graph, right: Graph) -> bool:
    """Whether all of two graphs but their arrays' storage is the same."""
    arrays = all(np.array_equal(left.split(name), right.split(name)) for name in SPLITS)
    facts = ("entity_ids", "relation_ids", "entity_labels", "duplicates", "leaked", "unseen")
    plain = all(getattr(left, fact) == getattr(right, fact) for fact in facts)
    return arrays and plain and left.digest == right.digest


# What is accepted


def test_rows_are_dense_and_sorted_by_id(tmp_path: Path) -> None:
    graph = read_folder(write(tmp_path))
    assert graph.entity_ids == ("a", "b", "c")
    assert graph.train.tolist() == [[1, 0, 0], [0, 0, 2]]
    assert graph.train.dtype == np.int32
    assert (graph.num_entities, graph.num_relations, graph.name) == (3, 1, tmp_path.name)


def test_reading_again_gives_the_same_graph(tmp_path: Path) -> None:
    folder = write_tiny_graph(tmp_path / "tiny")
    assert same(read_folder(folder), read_folder(folder))


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.removesuffix(b"\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
    ],
    ids=["CRLF", "no last LF", "BOM", "BOM and CRLF"],
)
def test_line_ends_and_a_byte_order_mark_do_not_change_the_graph(
    tmp_path: Path, dress: Callable[[bytes], bytes]
) -> None:
    plain = read_folder(write(tmp_path / "kg"))
    dressed = {name: dress(text.encode()) for name, text in GOOD.items()}
    assert same(read_folder(write(tmp_path / "kg", **dressed)), plain)


def test_gzip_does_not_change_the_graph(tmp_path: Path) -> None:
    plain = read_folder(write(tmp_path))
    for name in SPLITS:
        path = tmp_path / f"{name}.txt"
        (tmp_path / f"{name}.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert same(read_folder(tmp_path), plain)


def test_the_digest_depends_on_the_triples(tmp_path: Path) -> None:
    plain = read_folder(write(tmp_path / "kg")).digest
    assert read_folder(write(tmp_path / "kg", test="b\tr\tb\n")).digest != plain


def test_the_digest_tells_splits_apart(tmp_path: Path) -> None:
    plain = read_folder(write(tmp_path / "kg")).digest
    moved = write(tmp_path / "kg", valid=GOOD["test"], test=GOOD["valid"])
    assert read_folder(moved).digest != plain


def test_spaces_belong_to_names(tmp_path: Path) -> None:
    graph = read_folder(write(tmp_path, test="c\tr\t b  x \n"))
    assert names(graph, "test") == [("c", "r", " b  x ")]


# What is counted


def test_a_repeated_triple_is_kept_once_where_it_came_first_and_counted(tmp_path: Path) -> None:
    graph = read_folder(write(tmp_path, train="b\tr\ta\na\tr\tc\nb\tr\ta\nb\tr\ta\n"))
    assert names(graph, "train") == [("b", "r", "a"), ("a", "r", "c")]
    assert graph.duplicates == {"train": 2, "valid": 0, "test": 0}


def test_a_held_out_triple_that_train_has_stays_and_is_counted(tmp_path: Path) -> None:
    graph = read_folder(write(tmp_path, test="c\tr\tb\nb\tr\ta\n"))
    assert len(graph.test) == 2
    assert graph.leaked == {"valid": 0, "test": 1}


def test_entities_that_train_lacks_get_rows_and_their_triples_are_counted(tmp_path: Path) -> None:
    graph = read_folder(write(tmp_path, valid="new\tr\ta\na\tr\tnew\na\tr\tb\n"))
    assert "new" in graph.entity_ids
    assert graph.unseen == {"valid": 2, "test": 0}


def test_all_triples_holds_every_fact_once(tmp_path: Path) -> None:
    graph = read_folder(write(tmp_path, test="c\tr\tb\nb\tr\ta\n"))
    assert sorted(map(tuple, graph.all_triples.tolist())) == [
        (0, 0, 2), (1, 0, 0), (2, 0, 0), (2, 0, 1),
    ]  # fmt: skip


# Labels


def test_labels_are_read_by_id_and_an_id_without_one_is_its_own(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "labels.tsv").write_text("c\tSea\twater\r\na\tAnt\nb\t\nelsewhere\tMoon\n")
    (tmp_path / "relation_labels.tsv").write_text("r\trelated to\n")
    graph = read_folder(tmp_path)
    assert graph.entity_labels == ("Ant", "b", "Sea")
    assert graph.relation_labels == ("related to",)
    assert graph.vocabulary().entities.row("Sea") == 2


def test_a_label_line_without_a_label_is_refused_with_its_line(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "labels.tsv").write_text("a\tAnt\nb\n")
    with pytest.raises(DatasetError, match=r"labels\.tsv:2: expected id<TAB>label"):
        read_folder(tmp_path)


def test_two_labels_for_one_id_are_refused_with_the_line(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "labels.tsv").write_text("a\tAnt\nb\tBee\na\tAphid\n")
    with pytest.raises(DatasetError, match=r"labels\.tsv:3: 'a' has another label too, 'Ant'"):
        read_folder(tmp_path)


# What is refused


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ("a\tr\tb\na r b\n", r"train\.txt:2: expected 3 tab-separated fields, found 1 in 'a r b'"),
        ("a\tr\tb\tc\n", r"train\.txt:1: expected 3 tab-separated fields, found 4"),
        ("a\tr\tb\n\na\tr\tc\n", r"train\.txt:2: expected 3 tab-separated fields, found 1 in ''"),
        ("a\tr\tb\n\n", r"train\.txt:2: expected 3 tab-separated fields"),
        ("a\tr\na\tr\tb\tc\n", r"train\.txt:1: expected 3 tab-separated fields, found 2"),
        ("a\tr\tb\na\tr\tc\tc\nx\n", r"train\.txt:2: expected 3 tab-separated fields, found 4"),
        ("a\tr\tb\na\t\tb\n", r"train\.txt:2: field 2 of 'a\\t\\tb' is empty"),
        ("a\tr\t\n", r"train\.txt:1: field 3 .* is empty"),
        ("\tr\tb\n", r"train\.txt:1: field 1 .* is empty"),
        ("a\tr\tb\nx\0\tr\tb\n", r"train\.txt:2: .* found '\\x00'"),
        ("a\tr\tb\rb\tr\ta\n", r"train\.txt:1: .* found '\\r'"),
        ("a\tr\tb\r\na\tr\tc\r", r"train\.txt:2: .* found '\\r'"),
        (b"a\tr\tb\na\tr\t\xff\n", r"train\.txt:2: expected UTF-8"),
        (b"\xef\xbb\xbfa\tr\tb\n\xff\tr\tb\n", r"train\.txt:2: expected UTF-8"),
        ("a\tr\tb\n" + "é" * 3000 + "\tr\tb\n", r"train\.txt:2: .*at most 4096 bytes, found 6000"),
        ("", r"train\.txt: expected at least one triple, found an empty file"),
        ("\n", r"train\.txt: expected at least one triple, found an empty file"),
    ],
)
def test_a_malformed_split_is_refused_with_file_line_and_field(
    tmp_path: Path, train: str | bytes, problem: str
) -> None:
    with pytest.raises(DatasetError, match=problem):
        read_folder(write(tmp_path, train=train))


def test_a_name_of_the_greatest_length_is_kept(tmp_path: Path) -> None:
    name = "é" * (MAX_BYTES // 2)
    graph = read_folder(write(tmp_path, train=f"{name}\tr\ta\n"))
    assert graph.vocabulary().entities.row(name) == graph.entity_ids.index(name)


@pytest.mark.parametrize("split", SPLITS)
def test_an_empty_split_is_refused(tmp_path: Path, split: str) -> None:
    with pytest.raises(DatasetError, match=rf"{split}\.txt: expected at least one triple"):
        read_folder(write(tmp_path, **{split: ""}))


@pytest.mark.parametrize("split", SPLITS)
def test_a_missing_split_is_refused(tmp_path: Path, split: str) -> None:
    (write(tmp_path) / f"{split}.txt").unlink()
    with pytest.raises(DatasetError, match=rf"{split}\.txt: expected this file"):
        read_folder(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: expected a folder"):
        read_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_relation_that_train_lacks_is_refused_with_its_first_line(
    tmp_path: Path, split: str
) -> None:
    folder = write(tmp_path, **{split: "a\tr\tb\na\tother\tb\na\tmore\tb\n"})
    with pytest.raises(DatasetError, match=rf"{split}\.txt:2: relation 'other' does not occur"):
        read_folder(folder)


@pytest.mark.parametrize("damage", ["text", "cut", "bits"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: str) -> None:
    (write(tmp_path) / "train.txt").unlink()
    whole = gzip.compress(GOOD["train"].encode() * 50)
    raw = {"text": b"a\tr\tb\n", "cut": whole[:-12], "bits": whole[:12] + b"\xff\xff" + whole[14:]}
    (tmp_path / "train.txt.gz").write_bytes(raw[damage])
    with pytest.raises(DatasetError, match=r"train\.txt\.gz: cannot be read"):
        read_folder(tmp_path)


def test_control_characters_of_a_bad_line_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        read_folder(write(tmp_path / "kg", train="\x1b[2Jwiped\n"))
    assert "\x1b" not in str(caught.value)


def test_another_splits_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'dev'"):
        read_folder(write(tmp_path)).split("dev")


# Any graph


character = st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0\ufeff")
name = st.text(character, min_size=1, max_size=4)
triple = st.tuples(name, st.sampled_from(["r", "s", "é∘"]), name)
split = st.lists(triple, min_size=1, max_size=8)


@settings(deadline=None, max_examples=40)
@given(train=split, valid=split, test=split)
def test_any_graph_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    train: list[tuple[str, str, str]],
    valid: list[tuple[str, str, str]],
    test: list[tuple[str, str, str]],
) -> None:
    train = train + [("a", relation, "b") for relation in ("r", "s", "é∘")]
    written = {"train": train, "valid": valid, "test": test}
    folder = tmp_path_factory.mktemp("any")
    for part, rows in written.items():
        write_split(folder, part, rows)
    graph = read_folder(folder)
    for part, rows in written.items():
        assert names(graph, part) == list(dict.fromkeys(rows))
        assert graph.duplicates[part] == len(rows) - len(set(rows))
    for part in ("valid", "test"):
        seen = {entity for h, _, t in train for entity in (h, t)}
        unseen = [row for row in set(written[part]) if not {row[0], row[2]} <= seen]
        assert graph.leaked[part] == len(set(written[part]) & set(train))
        assert graph.unseen[part] == len(unseen)
    assert list(graph.entity_ids) == sorted(
        {e for rows in written.values() for h, _, t in rows for e in (h, t)}
    )


@settings(deadline=None, max_examples=200)
@given(names=st.lists(name | st.text("ab\x01", max_size=20), unique=True), prefix=name)
def test_names_are_sorted_as_their_utf_8(names: list[str], prefix: str) -> None:
    whole = [prefix + name for name in names]
    rows = sorted_rows(pa.array(whole, pa.large_string()))
    assert [whole[row] for row in rows.tolist()] == sorted(whole)

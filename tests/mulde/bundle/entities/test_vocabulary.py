"""Names and rows: look-up rules, the file, and what a damaged file does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.errors import AmbiguousLabel, BundleError, UnknownEntity, UnknownRelation
from tests.support.damage import accepted

IDS = ["Q1", "Q10", "Q2", "Q3", "Zürich", "日本"]
LABELS = ["universe", "Paris", "Paris", "Q1", "Zurich", "Japan"]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build(IDS, LABELS, ["P1", "P2"], ["P1", "P2"])


@pytest.fixture
def path(vocabulary: Vocabulary, tmp_path: Path) -> Path:
    file = tmp_path / "vocabulary.bin"
    vocabulary.write(file)
    return file


def test_ids_and_labels_survive_the_file(path: Path) -> None:
    read = Vocabulary.read(path)
    assert list(read.entities.ids) == IDS
    assert list(read.entities.labels) == LABELS
    assert list(read.relations.labels) == ["P1", "P2"]
    assert (len(read.entities), len(read.relations)) == (6, 2)


def test_an_exact_id_wins_over_a_label(path: Path) -> None:
    assert Vocabulary.read(path).entities.row("Q1") == 0


def test_a_unique_label_names_its_entity(path: Path) -> None:
    assert Vocabulary.read(path).entities.row("Japan") == 5


def test_an_ambiguous_label_lists_the_ids_that_share_it(path: Path) -> None:
    with pytest.raises(AmbiguousLabel) as caught:
        Vocabulary.read(path).entities.row("Paris")
    assert caught.value.choices == ("Q10", "Q2")


@pytest.mark.parametrize(
    "name", ["", "q1", "Q", "Q11", "~", "\x00", "\udcff", "Paris ", "x" * 9999]
)
def test_an_unknown_name_is_an_unknown_entity(path: Path, name: str) -> None:
    with pytest.raises(UnknownEntity):
        Vocabulary.read(path).entities.row(name)


def test_an_unknown_relation_has_an_error_of_its_own(vocabulary: Vocabulary) -> None:
    with pytest.raises(UnknownRelation, match="no relation is called 'P3'"):
        vocabulary.relations.row("P3")


def test_many_names_are_found_as_one_by_one(path: Path) -> None:
    read = Vocabulary.read(path)
    names = [name for name in [*IDS, "Japan", "Zurich", "universe"] for _ in range(9)]
    expected = [read.entities.row(name) for name in names]
    assert read.entities.rows(names).tolist() == expected


def test_lookup_marks_what_it_cannot_resolve(path: Path) -> None:
    names = ["Q3", "Paris", "nowhere", "Japan", ""] * 20
    assert Vocabulary.read(path).entities.lookup(names).tolist() == [3, -1, -1, 5, -1] * 20


def test_many_random_names_are_found(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    numbers = np.unique(generator.integers(0, 10**9, size=5000))
    ids = sorted(f"{'é' * int(n % 3)}{n}" for n in numbers)
    labels = [f"label {name[::-1]}" for name in ids]
    Vocabulary.build(ids, labels, ["r"], ["r"]).write(tmp_path / "v")
    read = Vocabulary.read(tmp_path / "v")
    rows = generator.permutation(len(ids))
    assert read.entities.rows([ids[row] for row in rows]).tolist() == rows.tolist()
    assert read.entities.rows([labels[row] for row in rows]).tolist() == rows.tolist()
    assert read.entities.ids.take(rows) == [ids[row] for row in rows]
    assert read.entities.labels.take(rows[:7]) == [labels[row] for row in rows[:7]]


@pytest.mark.parametrize("more", [0, 30, 90, 200])  # as many leaders as names, fewer, none
def test_names_are_told_from_their_beginnings_and_what_begins_with_them(more: int) -> None:
    ids = [f"{n:06d}{'x' * more}" for n in range(0, 60_000, 2)]
    names = Vocabulary.build(ids, ids, ["r"], ["r"]).entities
    some = [ids[row] for row in (0, 1, 63, 64, 65, 17_000, 29_999)]
    assert names.lookup(some * 9).tolist() == [0, 1, 63, 64, 65, 17_000, 29_999] * 9
    assert [names.row(name) for name in some] == [0, 1, 63, 64, 65, 17_000, 29_999]
    for wrong in ("{}x", "{}\x00", "{}" + "y" * 5000, "\x00{}", "~{}"):
        asked = [wrong.format(name) for name in some]
        assert names.lookup(asked * 9).tolist() == [-1] * 63
        assert names.lookup(asked).tolist() == [-1] * 7
    assert names.lookup([name[:-1] for name in some] * 9).tolist() == [-1] * 63


def test_labels_equal_to_ids_cost_no_space(tmp_path: Path) -> None:
    ids = [f"{n:08d}" for n in range(1000)]
    Vocabulary.build(ids, ids, ["r"], ["r"]).write(tmp_path / "plain")
    Vocabulary.build(ids, ids[::-1], ["r"], ["r"]).write(tmp_path / "labelled")
    plain, labelled = ((tmp_path / name).stat().st_size for name in ("plain", "labelled"))
    assert plain < 1000 * (2 + 2.5) + 2000
    assert labelled > plain + 1000 * (1 + 2.25 + 2 * 2)


def test_a_row_outside_the_vocabulary_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(IndexError):
        vocabulary.entities.ids[6]
    with pytest.raises(IndexError):
        vocabulary.entities.ids.take(np.array([0, -1]))


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (["b", "a"], "sorted and distinct"),
        (["a", "a"], "sorted and distinct"),
        (["a", "b\n"], "line feed"),
        (["a", "b\0"], "NUL"),
        (["", "b"], "expected 1 to 4096 bytes"),
        (["a", "b" * 5000], "expected 1 to 4096 bytes"),
        ([], "at least one"),
    ],
)
def test_names_that_cannot_be_stored_are_refused(ids: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Vocabulary.build(ids, ids, ["r"], ["r"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nothing\.bin"):
        Vocabulary.read(tmp_path / "nothing.bin")


def test_a_file_cut_anywhere_is_refused(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        cut = tmp_path / f"cut{size}"
        cut.write_bytes(whole[:size])
        with pytest.raises(BundleError, match=cut.name):
            Vocabulary.read(cut)


def test_any_changed_byte_is_refused_or_harmless(path: Path) -> None:
    for read in accepted(path, Vocabulary.read):
        every_row = np.arange(len(read.entities))
        assert len(read.entities.ids.take(every_row) + read.entities.labels.take(every_row)) == 12

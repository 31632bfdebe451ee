"""Search: completions and misspellings, checked against the plain definition of an edit."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.entities.edit_distance import hash_all
from mulde.bundle.entities.label_search import SearchIndex, fold, nearest_names
from mulde.errors import BundleError
from mulde.storage.strings import StringColumn
from tests.support.damage import accepted

LABELS = ["Zürich", "house", "House", "housing", "horse", "mouse", "house of cards", "東京", "dog"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def index(tmp_path: Path) -> SearchIndex:
    strings = StringColumn.build(LABELS)
    SearchIndex.build(strings).write(tmp_path / "search.bin")
    return SearchIndex.read(tmp_path / "search.bin", strings)


def found(index: SearchIndex, text: str, k: int = 10) -> list[str]:
    return [index.labels[row] for row in index.find(text, k)]


def random_labels(count: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    words = [
        "".join(generator.choice(list(LETTERS), size)) for size in generator.integers(3, 9, 300)
    ]
    sizes = generator.integers(1, 4, size=count)
    return [" ".join(words[i] for i in generator.integers(0, 300, size=size)) for size in sizes]


def spoil(text: str, generator: np.random.Generator) -> str:
    """One letter put in, left out, replaced, or swapped with the next."""
    place = int(generator.integers(len(text) - 1))
    letter = str(generator.choice(list(LETTERS)))
    before, here, after = text[:place], text[place], text[place + 1 :]
    ways = (before + letter + here + after, before + after, before + letter + after)
    swapped = before + after[0] + here + after[1:]
    return (*ways, swapped)[int(generator.integers(4))]


def test_exact_labels_come_first_whatever_their_case(index: SearchIndex) -> None:
    assert found(index, "HOUSE")[:2] == ["house", "House"]


def test_completions_come_shortest_first(index: SearchIndex) -> None:
    assert found(index, "hous") == ["house", "House", "housing", "house of cards"]


def test_a_text_that_ends_a_name_or_a_word_comes_before_longer_words_and_misspellings() -> None:
    labels = ["loin", "lioness", "lion cub", "lion, king of beasts", "lion-hunter", "lionet"]
    index = SearchIndex.build(StringColumn.build(labels))
    assert found(index, "lion") == [
        "lion, king of beasts", "loin", "lion cub", "lion-hunter", "lionet", "lioness",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["hosue", "hose", "huose", "housee", "xhouse", "youse", "hous e"])
def test_a_label_with_one_letter_wrong_is_found(index: SearchIndex, text: str) -> None:
    assert "house" in found(index, text)[:3]


def test_a_swap_is_likelier_than_a_replaced_letter(index: SearchIndex) -> None:
    assert found(index, "huose")[0] == "house"
    assert found(index, "hors") == ["horse"]


@pytest.mark.parametrize(
    "text", ["zürich", "ZÜRICH", "Zu\u0308rich", " Zürich  ", "Zürch", "東", "東亰"]
)
def test_any_script_is_found_however_it_is_composed(index: SearchIndex, text: str) -> None:
    assert found(index, text) in (["Zürich"], ["東京"])


@pytest.mark.parametrize("text", ["", "   ", "\n", "xyz", "\0", "\udcff", "q" * 5000])
def test_what_resembles_nothing_finds_nothing(index: SearchIndex, text: str) -> None:
    assert index.find(text, 10) == []


def test_a_page_is_the_beginning_of_a_longer_one() -> None:
    index = SearchIndex.build(StringColumn.build(random_labels(500)))
    whole = index.find("a", 100)
    assert len(whole) == len(set(whole)) > 5
    assert all(index.find("a", k) == whole[:k] for k in range(1, len(whole) + 1))


def test_every_label_one_edit_away_is_found_and_no_other() -> None:
    """Against the definition, on short labels over few letters where edits collide."""
    generator = np.random.default_rng(2)
    labels = sorted(
        {"".join(generator.choice(list("abc"), int(n))) for n in generator.integers(1, 6, 200)}
    )
    index = SearchIndex.build(StringColumn.build(labels))
    for query in {
        "".join(generator.choice(list("abc"), int(n))) for n in generator.integers(1, 7, 60)
    }:
        inserted = {query[:i] + c + query[i:] for i in range(len(query) + 1) for c in "abc"}
        changed = {query[:i] + c + query[i + 1 :] for i in range(len(query)) for c in "abc"}
        dropped = {query[:i] + query[i + 1 :] for i in range(len(query))}
        swapped = {
            query[:i] + query[i + 1] + query[i] + query[i + 2 :] for i in range(len(query) - 1)
        }
        begun = {label for label in labels if label.startswith(query)}
        expected = (inserted | changed | dropped | swapped | begun | {query}) & set(labels)
        assert set(found(index, query, len(labels))) == expected


def test_labels_that_share_a_hash_are_all_found() -> None:
    generator = np.random.default_rng(2)
    letters = generator.choice(list(LETTERS), size=(200_000, 9))
    labels = ["".join(row) for row in letters.tolist()]
    hashes = hash_all(labels)
    _, which, count = np.unique(hashes, return_inverse=True, return_counts=True)
    sharing = [label for label, n in zip(labels, count[which], strict=True) if n > 1]
    assert len(sharing) >= 4
    index = SearchIndex.build(StringColumn.build(labels))
    assert all(label in found(index, label[1:]) for label in sharing)


def test_seeded_typos_find_their_label_in_the_first_five() -> None:
    labels = random_labels(20_000)
    index = SearchIndex.build(StringColumn.build(labels))
    generator = np.random.default_rng(3)
    wanted = [labels[row] for row in generator.integers(0, len(labels), size=1000)]
    hits = [label in found(index, spoil(label, generator), 5) for label in wanted]
    assert np.mean(hits) >= 0.95


def test_a_search_takes_less_than_a_few_milliseconds_however_alike_the_labels_are() -> None:
    labels = [f"entity {number:06d}" for number in range(50_000)]
    index = SearchIndex.build(StringColumn.build(labels))
    started = time.perf_counter()
    for number in range(0, 50_000, 500):
        index.find(f"entity {number:05d}", 5)
    assert time.perf_counter() - started < 100 * 0.01


def test_a_label_takes_at_most_twelve_bytes(tmp_path: Path) -> None:
    labels = [f"{number:x}" for number in range(5000)]
    SearchIndex.build(StringColumn.build(labels)).write(tmp_path / "s")
    assert (tmp_path / "s").stat().st_size < 12 * 5000 + 1000


def test_nearest_spellings_are_labels_even_two_edits_away(index: SearchIndex) -> None:
    assert index.nearest("hosue")[0] == "house"
    assert index.nearest("housnig") == ["housing"]
    assert "housing" in index.nearest("housningg")


def test_few_names_are_compared_one_by_one() -> None:
    assert nearest_names(["part of", "instance of", "spouse"], "instanse off") == ["instance of"]
    assert nearest_names(["part of"], "zzz") == []


def test_many_labels_fold_as_one_by_one() -> None:
    labels = ["Straße", "ﬁsh", "x\u00a0y", " a  b ", "\u0301x", "İstanbul", "ΣΑΣ", "a\u2028b", "K"]
    assert fold("\n".join(labels)).split("\n") == [fold(label) for label in labels]


def test_an_index_of_other_labels_is_refused(index: SearchIndex, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected an index of 2 labels"):
        SearchIndex.read(tmp_path / "search.bin", StringColumn.build(["a", "b"]))
    assert len(index.order) == len(LABELS)


def test_any_changed_byte_is_refused_or_harmless(index: SearchIndex, tmp_path: Path) -> None:
    def read(path: Path) -> SearchIndex:
        return SearchIndex.read(path, index.labels)

    for damaged in accepted(tmp_path / "search.bin", read):
        assert all(
            row < len(LABELS) for text in ("house", "hos", "東") for row in damaged.find(text, 9)
        )


def test_labels_that_share_a_hash_are_both_found_by_a_typo() -> None:
    texts = [f"label {number:x}" for number in range(200_000)]
    hashes = hash_all(texts)
    order = np.argsort(hashes, kind="stable")
    first = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    assert len(first), "200,000 labels have 32-bit hashes in common"
    pair = [texts[order[first[0] + place]] for place in (0, 1)]
    index = SearchIndex.build(StringColumn.build([*LABELS, *pair]))
    for label in pair:
        assert found(index, label[:-1] + "z")[0] == label

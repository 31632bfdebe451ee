"""The script on a toy dictionary and toy links, with results that a person can check."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from scripts.wordnet.__main__ import texts
from scripts.wordnet.choose import largest_component, prune
from scripts.wordnet.database import NAMES, read_database
from scripts.wordnet.questions import HEADING, QUESTIONS, with_section
from scripts.wordnet.source import dictionary_folder, licence
from scripts.wordnet.split import split

HEADER = "  1 the licence  \n  2 goes on  \n"
# dog -> animal, animal -> dog; fast and quick are similar; fast's antonym is slow.
FILES = {
    "data.noun": HEADER
    + "00000100 05 n 01 animal 0 001 ~ 00000200 n 0000 | a gloss  \n"
    + "00000200 05 n 02 Dog 0 hound 1 002 @ 00000100 n 0000 + 00000200 n 0102 | a gloss  \n",
    "index.noun": HEADER
    + "animal n 1 1 ~ 1 0 00000100  \n"
    + "dog n 2 1 @ 2 1 00000900 00000200  \n",
    "data.verb": HEADER,
    "index.verb": HEADER,
    "data.adj": HEADER
    + "00000300 00 a 01 fast(a) 0 002 & 00000400 a 0000 ! 00000500 a 0101 | a gloss  \n"
    + "00000400 00 s 01 quick 0 001 & 00000300 a 0000 | a gloss  \n"
    + "00000500 00 a 01 slow 0 000 | a gloss  \n",
    "index.adj": HEADER
    + "fast a 1 1 & 1 0 00000300  \nquick a 1 1 & 1 0 00000400  \nslow a 1 0 1 0 00000500  \n",
    "data.adv": HEADER,
    "index.adv": HEADER,
    "cntlist.rev": "dog%1:05:00:: 1 7\nhound%1:05:01:: 1 2\nquick%5:00:00:fast:00 1 3\n"
    + "gone%1:05:00:: 1 9\n",
}


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def facts(links: np.ndarray, names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    return [(names[h], NAMES[r], names[t]) for h, r, t in links.tolist()]


def test_a_synset_is_named_by_its_first_lemma_and_the_place_among_its_senses(
    dictionary: Path,
) -> None:
    names = read_database(dictionary).names
    assert names == ("animal.n.01", "dog.n.02", "fast.a.01", "quick.s.01", "slow.a.01")


def test_inverse_links_stand_once_symmetric_ones_twice_and_loops_never(dictionary: Path) -> None:
    database = read_database(dictionary)
    assert sorted(facts(database.links, database.names)) == [
        ("dog.n.02", "hypernym", "animal.n.01"),
        ("fast.a.01", "antonym", "slow.a.01"),
        ("fast.a.01", "similar_to", "quick.s.01"),
        ("quick.s.01", "similar_to", "fast.a.01"),
        ("slow.a.01", "antonym", "fast.a.01"),
    ]


def test_the_counts_of_all_lemmas_of_a_synset_add_up(dictionary: Path) -> None:
    assert read_database(dictionary).counts.tolist() == [0, 9, 0, 3, 0]


def test_a_synset_has_its_lemmas_as_written_its_gloss_and_its_category(dictionary: Path) -> None:
    found = texts(read_database(dictionary))
    assert found["labels.tsv"].splitlines() == [
        "animal.n.01\tanimal\ta gloss",
        "dog.n.02\tDog, hound\ta gloss",
        "fast.a.01\tfast\ta gloss",
        "quick.s.01\tquick\ta gloss",
        "slow.a.01\tslow\ta gloss",
    ]
    assert found["types.tsv"].splitlines()[1:3] == ["dog.n.02\tnoun.animal", "fast.a.01\tadj.all"]


def test_a_satellite_counts_as_an_adjective(dictionary: Path) -> None:
    assert read_database(dictionary).part("a").tolist() == [False, False, True, True, True]


def test_the_licence_comes_without_its_line_numbers(dictionary: Path) -> None:
    assert licence(dictionary) == "the licence\ngoes on\n"


def test_a_debian_package_is_read_like_a_folder(dictionary: Path, tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name in FILES:
            archive.add(dictionary / name, f"./usr/share/wordnet/{name}")
    package = tmp_path / "toy.deb"
    package.write_bytes(
        b"!<arch>\n" + ar("debian-binary", b"2.0") + ar("data.tar.xz", data.getvalue())
    )
    with dictionary_folder(package) as folder:
        assert read_database(folder).names == read_database(dictionary).names


def ar(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
    return header + content + b"\n" * (len(content) % 2)


@pytest.mark.parametrize("content", [b"not an archive", b"!<arch>\n" + ar("other", b"abc")])
def test_another_file_is_no_debian_package(tmp_path: Path, content: bytes) -> None:
    package = tmp_path / "wrong.deb"
    package.write_bytes(content)
    with (
        pytest.raises(FileNotFoundError, match=r"wrong\.deb: expected"),
        dictionary_folder(package),
    ):
        pass


def test_pruning_removes_what_hangs_on_by_one_neighbour_and_what_that_leaves_hanging() -> None:
    triangle = [(0, 0, 1), (1, 0, 2), (2, 0, 0)]
    tail = [(2, 0, 3), (3, 0, 4), (4, 1, 3)]  # 4 has two links but one neighbour
    links = np.array(triangle + tail, dtype=np.int32)
    assert prune(links, 5).tolist() == [list(link) for link in triangle]


def test_the_larger_of_two_components_is_kept() -> None:
    links = np.array([(0, 0, 1), (2, 0, 3), (3, 0, 4)], dtype=np.int32)
    assert largest_component(links, 5).tolist() == [[2, 0, 3], [3, 0, 4]]


def test_a_split_keeps_pairs_together_and_a_spanning_tree_in_train() -> None:
    size = 20
    heads, tails = np.triu_indices(size, 1)  # every two synsets are linked, both ways
    one_way = np.stack([heads, heads % 3, tails], axis=1)
    links = np.concatenate([one_way, one_way[:, ::-1]]).astype(np.int32)
    names = tuple(f"{row:02}" for row in range(size))
    splits = split(links, names, 0.1, "seed")
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 304,
        "valid": 38,
        "test": 38,
    }
    unordered = [np.unique(np.sort(part[:, [0, 2]], axis=1), axis=0) for part in splits.values()]
    assert len(np.unique(np.concatenate(unordered), axis=0)) == sum(map(len, unordered))
    assert len(largest_component(splits["train"], size)) == len(splits["train"])
    assert set(splits["train"][:, 0].tolist()) == set(range(size))


def test_a_seed_names_its_split() -> None:
    links = np.array([(h, 0, t) for h in range(9) for t in range(h)], dtype=np.int32)
    names = tuple("abcdefghi")
    first, again, other = (split(links, names, 0.1, seed)["test"] for seed in ("x", "x", "y"))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_a_tree_has_nothing_to_hold_out() -> None:
    links = np.array([(0, 0, 1), (1, 0, 2)], dtype=np.int32)
    with pytest.raises(ValueError, match=r"expected at most 0\.000"):
        split(links, ("a", "b", "c"), 0.5, "seed")


def test_the_card_has_the_questions_once_before_how_the_model_was_made() -> None:
    once = with_section("# card\n\n## How it was made\n\nby hand\n", f"{HEADING}\n\nold")
    twice = with_section(once, f"{HEADING}\n\nnew")
    assert twice == f"# card\n\n{HEADING}\n\nnew\n\n## How it was made\n\nby hand\n"


def test_thirty_different_questions_each_leave_one_end_open() -> None:
    assert len(set(QUESTIONS)) == 30
    assert all((question[0] == "?") != (question[2] == "?") for question in QUESTIONS)

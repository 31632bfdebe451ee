"""Front coding: the same strings in fewer bytes, and nothing else is believed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.entities.vocabulary import MAGIC, VERSION, Vocabulary
from mulde.errors import BundleError
from mulde.storage.container import read_sections, write_sections
from mulde.storage.front_coding import front_code, shortest
from mulde.storage.sorted_lookup import SortedStrings
from mulde.storage.strings import StringColumn
from mulde.typing import Array
from tests.support.damage import accepted

IDS = [f"Q{n:07d}" for n in range(40)]
LABELS = [f"a thing called {name}" for name in ("zebra", "émile", "日本", "ant", "ant") * 8]


def texts(count: int, seed: int = 0) -> list[str]:
    """StringColumn with beginnings of every length, of letters of one to three bytes."""
    random = np.random.default_rng(seed)
    stems = ["", "x" * 300, "né", "日" * 90, "common beginning "]
    return [
        stems[random.integers(len(stems))]
        + "".join(random.choice([*"abé日"], random.integers(1, 9)))
        for _ in range(count)
    ]


def same(one: StringColumn, other: StringColumn) -> None:
    """Every way to read them gives the same."""
    rows = np.random.default_rng(1).integers(len(other), size=3 * len(other))
    assert list(one) == list(other)
    assert one.take(rows) == other.take(rows)
    assert one.take(rows[:3]) == other.take(rows[:3])
    assert one.sizes(rows).tolist() == other.sizes(rows).tolist()
    assert [one.raw(row) for row in range(len(other))] == [s.encode() for s in other]
    for width in (1, 4, 700):
        assert one.padded(rows, width).tolist() == other.padded(rows, width).tolist()


@pytest.mark.parametrize("count", [1, 2, 16, 17, 500])
def test_sorted_strings_are_read_as_they_were(count: int) -> None:
    plain = StringColumn.build(sorted(set(texts(count))))
    same(front_code(plain), plain)


@pytest.mark.parametrize("count", [1, 33, 500])
def test_rows_in_another_order_find_their_strings(count: int) -> None:
    names = texts(count)
    order = np.array(sorted(range(count), key=names.__getitem__), dtype=np.uint32)
    plain = StringColumn.build(names)
    same(front_code(plain, order), plain)


def test_more_strings_than_are_coded_at_once_are_read_as_they_were() -> None:
    plain = StringColumn.build([f"{n:08d}" for n in range(0, 10**6, 13)])
    front, rows = front_code(plain), np.array([0, 65_535, 65_536, 65_537, 76_923])
    assert front.take(rows) == plain.take(rows)
    assert front.data.nbytes < 0.4 * plain.data.nbytes


def test_strings_that_share_nothing_stay_whole() -> None:
    plain = StringColumn.build([*"abcdefghijklmnopqrstuvwxyz"])
    assert shortest(plain) is plain


def test_strings_that_share_much_do_not() -> None:
    assert shortest(StringColumn.build(IDS)).shared is not None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Vocabulary.build(IDS, LABELS, ["r"], ["r"]).write(tmp_path / "vocabulary.bin")
    return tmp_path / "vocabulary.bin"


def test_a_vocabulary_is_read_as_it_was(path: Path) -> None:
    read = Vocabulary.read(path)
    assert read.entities.labels.shared is not None
    assert (list(read.entities.ids), list(read.entities.labels)) == (IDS, LABELS)
    assert read.entities.rows(IDS * 2).tolist() == [*range(40)] * 2
    assert read.entities.rows_of_label("a thing called 日本").tolist() == [*range(2, 40, 5)]
    assert read.entities.lookup(["a thing called", "Q000000", "Q00000070"]).tolist() == [-1] * 3


def test_a_vocabulary_that_was_read_can_be_written_again(path: Path, tmp_path: Path) -> None:
    Vocabulary.read(path).write(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_any_changed_byte_is_refused_or_harmless(path: Path) -> None:
    for read in accepted(path, Vocabulary.read, step=3):
        rows = np.arange(len(IDS))
        assert len(read.entities.ids.take(rows) + read.entities.labels.take(rows)) == 80
        assert read.entities.rows_of_ids(read.entities.ids.take(rows)).tolist() == rows.tolist()


def damaged(path: Path, section: str, place: int, number: int) -> Path:
    """The same file with one number of one section changed."""
    names = [
        f"{kind}.{column}.{part}"
        for kind in ("entity", "relation")
        for column in ("id", "label")
        for part in ("data", "starts", "ends", "shared", "places", "order")
    ]
    anything = dict.fromkeys(names, ("u1", "u2", "u4", "u8"))
    arrays: dict[str, Array] = dict(read_sections(path, MAGIC, VERSION, {}, anything))
    arrays[section] = arrays[section].copy()
    arrays[section][place] = number
    copy = path.with_name("damaged.bin")
    write_sections(copy, MAGIC, VERSION, arrays)
    return copy


@pytest.mark.parametrize(
    ("section", "place", "number", "reason"),
    [
        ("entity.id.shared", 16, 1, "must be whole"),
        ("entity.id.shared", 1, 9, "more than there is"),
        ("entity.id.shared", 35, 255, "more than there is"),
        ("entity.label.places", 3, 4, "each place once"),
        ("entity.label.places", 3, 60_000, "each place once"),
        ("entity.id.ends", 5, 0, "must follow|1 to 4096"),
        ("entity.id.data", 3, 0xC3, "UTF-8"),
        ("entity.id.data", 3, 0, "NUL"),
        ("entity.label.order", 3, 60_000, "order"),
    ],
)
def test_numbers_that_lie_are_refused(
    path: Path, section: str, place: int, number: int, reason: str
) -> None:
    with pytest.raises(BundleError, match=reason):
        Vocabulary.read(damaged(path, section, place, number))


def test_the_first_look_up_takes_little_memory() -> None:
    """Every string of 100,000 short ones is a leader: read at once they took 27 MiB more."""
    strings = SortedStrings(StringColumn.build([f"Q{n:06d}" for n in range(100_000)]))
    tracemalloc.start()
    found = strings.find(["Q000000", "Q070000", "Q099999", "Q1", "R"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tolist() == [0, 70_000, 99_999, -1, -1]
    assert peak < 4 << 20

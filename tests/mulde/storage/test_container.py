"""The container of arrays: what goes in comes out, mapped, and nothing else is accepted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mulde.errors import BundleError
from mulde.storage.container import check_offsets, check_rising, read_sections, write_sections
from mulde.typing import Array

MAGIC = b"MULDETES"
ARRAYS: dict[str, Array] = {
    "small": np.array([1, 2, 255], dtype=np.uint8),
    "none": np.zeros(0, dtype=np.int32),
    "wide": np.array([2**63, 7], dtype=np.uint64),
    "real": np.array([0.5, -1e30], dtype=np.float32),
}
EXPECTED = {"small": ("u1",), "none": ("i4",), "wide": ("u4", "u8"), "real": ("f4",)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_sections(tmp_path / "file", MAGIC, 2, ARRAYS)
    return tmp_path / "file"


def test_arrays_survive_and_cannot_be_written(path: Path) -> None:
    read = read_sections(path, MAGIC, 2, EXPECTED)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
        assert not read[name].flags.writeable


def test_an_array_starts_at_a_multiple_of_64(path: Path) -> None:
    whole = path.read_bytes()
    assert whole.index(ARRAYS["wide"].tobytes()) % 64 == 0
    assert whole.index(ARRAYS["real"].tobytes()) % 64 == 0


def test_an_older_version_can_be_read_and_a_newer_one_not(path: Path) -> None:
    assert set(read_sections(path, MAGIC, 3, EXPECTED)) == set(ARRAYS)
    with pytest.raises(BundleError, match="expected version 1 to 1, found 2"):
        read_sections(path, MAGIC, 1, EXPECTED)


def test_another_kind_of_file_is_refused(path: Path) -> None:
    with pytest.raises(BundleError, match="found another kind"):
        read_sections(path, b"MULDEXXX", 2, EXPECTED)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"small": ("i1",)}, "'small': expected type i1, found 'u1'"),
        ({"more": ("u1",)}, "expected the section 'more'"),
        ({"small": None}, "'small' is not known"),
    ],
)
def test_other_sections_are_refused(
    path: Path, changes: dict[str, tuple[str, ...] | None], words: str
) -> None:
    expected = {k: v for k, v in {**EXPECTED, **changes}.items() if v is not None}
    with pytest.raises(BundleError, match=words):
        read_sections(path, MAGIC, 2, expected)


@pytest.mark.parametrize("content", [b"", b"MULDETES", b"MULDETES" + b"\xff" * 8])
def test_what_is_too_short_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "short").write_bytes(content)
    with pytest.raises(BundleError, match="short"):
        read_sections(tmp_path / "short", MAGIC, 2**32 - 1, EXPECTED)


def test_bytes_after_the_last_section_are_refused(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"expected \d+ bytes, found"):
        read_sections(path, MAGIC, 2, EXPECTED)


@pytest.mark.parametrize("offsets", [[], [1, 3], [0, 2], [0, 2, 1, 3], [0, 4]])
def test_offsets_that_reach_outside_are_refused(offsets: list[int]) -> None:
    with pytest.raises(BundleError, match="ends of words must"):
        check_offsets(Path("f"), "ends of words", np.array(offsets, dtype=np.uint32), 3)


def test_values_may_fall_only_where_a_row_starts() -> None:
    values = np.array([1, 5, 2, 9, 9], dtype=np.int32)
    check_rising(Path("f"), "rows", values[:4], np.array([0, 2, 2, 4], dtype=np.uint32))
    with pytest.raises(BundleError, match="rows must rise"):
        check_rising(Path("f"), "rows", values[:4], np.array([0, 1, 4], dtype=np.uint32))
    with pytest.raises(BundleError, match="rows must rise"):
        check_rising(Path("f"), "rows", values, np.array([0, 2, 5], dtype=np.uint64))


def test_values_are_checked_beyond_the_first_piece() -> None:
    values = np.arange(2_500_000, dtype=np.int32)
    offsets = np.array([0, len(values)], dtype=np.uint32)
    check_rising(Path("f"), "rows", values, offsets)
    for place in (1 << 20, (1 << 20) + 1, len(values) - 1):
        damaged = values.copy()
        damaged[place] = damaged[place - 1]
        with pytest.raises(BundleError, match="rows must rise"):
            check_rising(Path("f"), "rows", damaged, offsets)

"""Texts of entities: what was written is read, and damage is refused."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.entities.descriptions import BLOCK, MAX_DESCRIPTION_BYTES, Descriptions
from mulde.errors import BundleError
from tests.support.hostile import HOSTILE

TEXTS = ["", *HOSTILE, *(f"a thing of number {row}" for row in range(150)), ""]


def written(folder: Path, descriptions: Descriptions) -> Path:
    path = folder / "descriptions.bin"
    descriptions.write(path)
    return path


def of_blocks(entities: int, *blocks: bytes) -> Descriptions:
    ends = np.cumsum([len(block) for block in blocks], dtype=np.uint32)
    return Descriptions(entities, np.frombuffer(b"".join(blocks), np.uint8), ends)


def test_each_row_has_its_text(tmp_path: Path) -> None:
    read = Descriptions.read(written(tmp_path, Descriptions.build(TEXTS)))
    assert read.num_entities == len(TEXTS)
    assert [read.of(row) for row in range(len(TEXTS))] == TEXTS
    assert read.texts() == TEXTS


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_a_block_may_be_full_or_not(tmp_path: Path, count: int) -> None:
    texts = [str(row) for row in range(count)]
    assert Descriptions.read(written(tmp_path, Descriptions.build(texts))).texts() == texts


def test_the_longest_text_is_kept_and_a_longer_one_refused() -> None:
    longest = "é" * (MAX_DESCRIPTION_BYTES // 2)
    assert Descriptions.build(["", longest]).of(1) == longest
    with pytest.raises(ValueError, match="at most 65,536 bytes"):
        Descriptions.build([longest + "e"])


def test_a_text_of_two_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="one line"):
        Descriptions.build(["two\nlines"])


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (of_blocks(2, zlib.compress(b"one")), "expected 2 texts"),
        (of_blocks(1, zlib.compress(b"one\ntwo")), "expected 1 texts"),
        (of_blocks(1, zlib.compress(b"\xff")), "block 0 cannot be read"),
        (of_blocks(1, b"not zlib"), "block 0 cannot be read"),
        (of_blocks(1, zlib.compress(b"one")[:-1]), "expected 1 texts"),
        (of_blocks(1, zlib.compress(b"one") + b"more"), "expected 1 texts"),
        (of_blocks(BLOCK + 1, zlib.compress(b"\n" * 63)), "expected 2 blocks"),
        (of_blocks(1, zlib.compress(b"a" * (70 * MAX_DESCRIPTION_BYTES))), "expected 1 texts"),
        (Descriptions(1, np.zeros(9, np.uint8), np.array([8], np.uint32)), "9 bytes in all"),
    ],
    ids=["few", "many", "utf8", "zlib", "cut", "longer", "blocks", "bomb", "ends"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damaged: Descriptions, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        Descriptions.read(written(tmp_path, damaged))

"""Label files: descriptions in the third field."""

from __future__ import annotations

from pathlib import Path

import pytest

from mulde.bundle.entities.descriptions import MAX_DESCRIPTION_BYTES
from mulde.errors import DatasetError
from mulde.graph.labels import read_descriptions


def test_a_description_is_one_line_and_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('id,label,text\na,A,"two\n lines"\nb,B\nc,C,\n', encoding="utf-8")
    assert read_descriptions(path) == {"a": "two lines"}


def test_a_description_that_is_too_long_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text(f"a\tA\tshort\nb\tB\t{'x' * MAX_DESCRIPTION_BYTES}x\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r":2: .* at most 65,536 bytes, found 65,537"):
        read_descriptions(path)

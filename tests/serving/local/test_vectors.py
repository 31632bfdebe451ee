"""Vectors of a bundle in files of other tools: the same numbers, ids and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from mulde.cli import app
from mulde.errors import ConfigError
from serving.local.vectors import write_vectors
from tests.support.toy import Toy, toy_bundle


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return toy_bundle(tmp_path_factory.mktemp("vectors") / "toy", entities=50, relations=2)


def test_all_formats_hold_the_same_numbers_and_names(toy: Toy, tmp_path: Path) -> None:
    for ending in ("parquet", "npy", "txt"):
        result = CliRunner().invoke(app, ["vectors", str(toy.path), "-o", f"{tmp_path}/v.{ending}"])
        assert result.exit_code == 0, result.output
    table = parquet.read_table(tmp_path / "v.parquet").to_pydict()
    points = np.load(tmp_path / "v.npy")
    assert points.shape[0] == 50
    np.testing.assert_array_equal(np.array(table["vector"], dtype=np.float32), points)
    names = [line.split("\t") for line in (tmp_path / "v.npy.tsv").read_text().splitlines()]
    assert names[0] == ["id", "label"]
    assert [[i, label] for i, label in zip(table["id"], table["label"], strict=True)] == names[1:]
    head, *lines = (tmp_path / "v.txt").read_text().splitlines()
    assert head == f"50 {points.shape[1]}"
    assert [line.split(" ")[0] for line in lines] == table["id"]
    text = np.array([line.split(" ")[1:] for line in lines], dtype=np.float32)
    np.testing.assert_array_equal(text, points)


def test_files_that_are_there_and_other_endings_are_refused(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "v.npy.tsv").write_text("mine")
    with pytest.raises(ConfigError, match=r"v\.npy\.tsv"):
        write_vectors(toy.path, tmp_path / "v.npy")
    with pytest.raises(ConfigError, match=r"\.parquet, \.npy, \.txt"):
        write_vectors(toy.path, tmp_path / "v.bin")
    write_vectors(toy.path, tmp_path / "v.npy", overwrite=True)

"""The programs of the server's benchmark run, at a tiny size, and the page says what they found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import former, search, serving
from benchmarks.record_files import read_by_size
from benchmarks.serving_page import write_page
from benchmarks.synthetic_labels import labels, spoilt
from mulde.bundle.entities.edit_distance import UNLIKE, likelihood

HERE = Path(serving.__file__).parent


def test_names_are_distinct_and_the_same_for_the_same_seed() -> None:
    found = labels(3000, seed=5)
    assert len(set(found)) == 3000
    assert found == labels(3000, seed=5)
    assert found != labels(3000, seed=6)


def test_a_spoilt_name_is_at_most_one_edit_away() -> None:
    generator = np.random.default_rng(0)
    for name in labels(200):
        wrong = spoilt(name, generator)
        assert wrong == name or likelihood(wrong, name) < UNLIKE


@pytest.mark.timeout(300)
def test_search_is_measured_and_what_was_typed_is_found(tmp_path: Path) -> None:
    bundle, record = tmp_path / "names", tmp_path / "record.json"
    run = CliRunner().invoke
    built = run(search.app, ["build", str(bundle), "--entities", "3000"])
    assert built.exit_code == 0, built.output
    done = run(search.app, ["measure", str(bundle), "--seconds", "0.1", "--record", str(record)])
    assert done.exit_code == 0, done.output
    found = json.loads(record.read_text("utf-8"))
    assert found["labels"] == 3000
    assert found["hits"] >= 0.95
    assert set(found["found"]) == {"beginnings", "misspelt", "whole"}
    assert all(one["queries_per_s"] > 0 for one in found["found"].values())


def test_the_page_is_that_of_the_records(tmp_path: Path) -> None:
    paths = sorted(serving.RECORDS.glob("*.json"))
    records = [json.loads(path.read_text("utf-8")) for path in paths]
    records.sort(key=lambda record: record["entities"])
    found = json.loads(search.RECORD.read_text("utf-8")) if search.RECORD.exists() else None
    write_page(records, tmp_path, found, read_by_size(former.RECORDS))
    for name in ("serving.md", "serving.json"):
        assert (tmp_path / name).read_text("utf-8") == (HERE / name).read_text("utf-8")

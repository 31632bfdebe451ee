"""The certificates' page: of its records, which hold what a small run gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import certificates
from benchmarks.certificates_page import bar_of, text
from tests.support.toy import toy_bundle

Record = dict[str, Any]
SHARES = ("p50", "p90", "p99", "most")


def kept() -> list[Record]:
    paths = sorted(certificates.RECORDS.glob("*.json"))
    return [json.loads(path.read_text("utf-8")) for path in paths]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("certificates")
    bundle = toy_bundle(folder / "toy", entities=700, relations=2, dimension=8).path
    records = ("--records", str(folder / "records"))
    runner = CliRunner()
    command = ["measure", str(bundle), "--queries", "300", *records]
    done = runner.invoke(certificates.app, command)
    assert done.exit_code == 0, done.output
    done = runner.invoke(certificates.app, ["page", *records, "--to", str(folder / "page.md")])
    assert done.exit_code == 0, done.output
    found: Record = json.loads((folder / "records" / "toy.json").read_text("utf-8"))
    assert (folder / "page.md").read_text("utf-8") == text([found])
    return found


def test_the_page_is_that_of_its_records() -> None:
    assert certificates.PAGE.read_text("utf-8") == text(kept())


def test_every_kind_is_asked(record: Record) -> None:
    names = [one["name"] for one in record["kinds"]]
    for kind in ("int8", "table (FAISS ", "ivf", certificates.FLAT):
        assert any(name.startswith(kind) for name in names), kind


def test_what_is_counted_agrees(record: Record) -> None:
    for one in record["kinds"]:
        fetched, needed = ([one[name][share] for share in SHARES] for name in ("fetched", "needed"))
        assert fetched == sorted(fetched)
        assert needed == sorted(needed)
        assert min(fetched[0], needed[0]) >= certificates.K
        assert needed[-1] <= record["entities"]
        assert 0 <= one["certified"] <= 1
        assert (one["certified_within"] == 1) == (needed[-1] <= 100)
        if one["certified"] == 1:
            assert one["recall"] == 1
            assert fetched == needed


def test_kinds_differ_in_what_they_are_sure_of(record: Record) -> None:
    found = {one["name"].split(",")[0]: one for one in record["kinds"]}
    assert found["int8"]["certified"] == 1
    assert found["ivf"]["certified"] < 1


def test_the_bar_is_for_a_linear_score_over_the_table_as_it_is() -> None:
    kinds = [{"name": "int8"}, {"name": "table (FAISS SQfp16)", "certified_within": 0.98}]
    record = {"score": "linear", "precision": "fp16", "kinds": kinds}
    assert bar_of(record) == ("table (FAISS SQfp16)", 0.98)
    assert bar_of({**record, "score": "distance"}) is None


def test_a_page_of_nothing_is_refused(tmp_path: Path) -> None:
    command = ["page", "--records", str(tmp_path), "--to", str(tmp_path / "page.md")]
    done = CliRunner().invoke(certificates.app, command)
    assert done.exit_code == 1
    assert not (tmp_path / "page.md").exists()

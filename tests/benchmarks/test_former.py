"""Two checkouts in one run: here the same one twice."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.former import measure
from benchmarks.served import ROOT
from benchmarks.serving_page import write_former

BUNDLE = Path("models") / "wn18rr-32"


def test_both_versions_are_timed_in_one_run_and_shown(tmp_path: Path) -> None:
    measure(BUNDLE, ROOT, rounds=1, span=0.02, records=tmp_path)
    record = json.loads((tmp_path / "wn18rr-32.json").read_text("utf-8"))
    for size in ("1", "256"):
        found = record["engine"][size]
        assert found["now"]["median"] > 0
        assert found["now / former"]["least"] <= found["now / former"]["most"]
    assert record["port"]["2"]["former: queries a second"]["median"] > 0
    page = write_former(record)
    assert page.count("\n| engine, ") == 5
    assert page.count("2 workers |") == page.count("1 worker |") == 3

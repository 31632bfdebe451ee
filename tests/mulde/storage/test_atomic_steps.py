"""Who looks at a place while a folder is written there finds nothing, the old or the new one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT, environment
from tests.support.watched import WRITERS, Found, state


def found_there(kind: str, target: Path) -> list[Found]:
    """What a reader could have found at each step of writing; the last is what was written."""
    source = target.parent.with_name("source")
    command = [sys.executable, "-m", "tests.support.watched", kind, str(source), str(target)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("former", [False, True], ids=["new", "in the place of another"])
def test_a_place_holds_nothing_half_written_at_any_step(
    tmp_path: Path, kind: str, former: bool
) -> None:
    target = tmp_path / "place" / "toy"
    target.parent.mkdir()
    if former:
        found_there("graph" if kind == "graph" else "bundle", target)
        (target / "test.txt" if kind == "graph" else target / "card.md").write_text("old")
    before = state(target)
    *seen, written = found_there(kind, target)
    assert written is not None
    assert written != before
    assert len(seen) > len(written)  # it was looked at whenever a file was opened
    assert [one for one in seen if one not in (before, written)] == []

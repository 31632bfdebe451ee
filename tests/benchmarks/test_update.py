"""Updates on graphs that arrive in snapshots: the two protocols, and a page from a measurement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.snapshots import Snapshots
from benchmarks.update import app
from mulde.typing import Floats, Rows
from tests.support.tiny import triples, write_split


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two snapshots: facts of the first 20 entities of the ring, then all others."""
    facts = triples()
    first = [fact for fact in facts if max(fact[0], fact[2]) < "e20"]
    for place, part in enumerate((first, [fact for fact in facts if fact not in first])):
        inner = tmp_path / "ring" / str(place)
        inner.mkdir(parents=True)
        for split, rows in (("train", part[4:]), ("valid", part[:2]), ("test", part[2:4])):
            write_split(inner, split, rows)
    return tmp_path / "ring"


def test_a_test_ranks_the_entities_known_then_or_all_of_them_now(folder: Path) -> None:
    """By hand: scores are rows, so later entities are better than every earlier one."""
    snapshots = Snapshots.read(folder)
    first, last = snapshots.graph(0), snapshots.graph(1)
    assert (first.num_entities, last.num_entities) == (20, 30)

    def scores(entity: Rows, relation: Rows) -> Floats:
        return np.tile(np.arange(30.0), (len(entity), 1))

    found = snapshots.quality(last, scores)
    part = snapshots.parts[0]["test"]
    known = {
        tuple(fact) for splits in snapshots.parts for f in splits.values() for fact in f.tolist()
    }
    for name, size in (("then", 20), ("now", 30)):
        inverse = []
        for head, relation, tail in part.tolist():
            better = [e for e in range(tail + 1, size) if (head, relation, e) not in known]
            inverse.append(1 / (1 + len(better)))
            better = [e for e in range(head + 1, size) if (e, relation, tail) not in known]
            inverse.append(1 / (1 + len(better)))
        assert found[0][name]["mrr"] == pytest.approx(np.mean(inverse))


def test_a_graph_is_ranked_on_the_tests_that_it_has(folder: Path) -> None:
    snapshots = Snapshots.read(folder)
    first = snapshots.graph(0)

    def scores(entity: Rows, relation: Rows) -> Floats:
        return np.zeros((len(entity), first.num_entities))

    assert len(snapshots.quality(first, scores)) == 1


def test_a_measurement_goes_on_and_becomes_a_page(folder: Path, tmp_path: Path) -> None:
    kept = ["--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    for way in ("update", "nothing", "update"):
        result = CliRunner().invoke(app, ["measure", str(folder), way, *kept])
        assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "records" / "ring-update.json").read_text())
    assert [step["snapshot"] for step in record["steps"]] == [0, 1]
    assert [len(step["quality"]) for step in record["steps"]] == [1, 2]
    page = ["page", "--records", str(tmp_path / "records"), "--into", str(tmp_path)]
    assert CliRunner().invoke(app, page).exit_code == 0
    text = (tmp_path / "update.md").read_text()
    assert "from nothing" in text
    assert (tmp_path / "update-ring.svg").exists()

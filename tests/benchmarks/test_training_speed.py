"""The figures of the training loop are of that loop, and the page shows what the record says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import training_figures as figures
from benchmarks.training_page import write_page
from mulde.graph.graph import Graph, read_folder
from tests.support.tiny import write_tiny_graph


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return read_folder(write_tiny_graph(tmp_path_factory.mktemp("graphs") / "tiny"))


@pytest.mark.parametrize("name", figures.MODELS)
def test_a_model_trains_until_its_time_is_up(graph: Graph, name: str) -> None:
    run = figures.trained(graph, name, 0.05)
    seconds = [second for second, _ in run["curve"]]
    assert seconds == sorted(seconds)
    assert all(second < 0.05 for second in seconds[:-1])
    assert seconds[-1] >= 0.05
    assert all(0 < mrr <= 1 for _, mrr in run["curve"])
    ratio = run["triples_per_s"] / run["queries_per_s"]
    assert ratio == pytest.approx(2 * len(graph.train) / len(figures.queries_of(graph)))


@pytest.mark.parametrize("name", figures.MODELS)
def test_shares_are_parts_of_a_whole(graph: Graph, name: str) -> None:
    shares = figures.share_of_products(graph, name, steps=3)
    assert all(0 < share < 1 for share in shares.values())
    assert sum(shares.values()) <= 1
    assert next(iter(shares)) == "matrix products"


def test_the_page_says_what_the_record_says(tmp_path: Path) -> None:
    run = {
        "name": "mulde", "model": "RotH-32", "batch": "300 queries", "negatives": 255,
        "queries_per_s": 12345.6, "triples_per_s": 23456.7, "curve": [[1.0, 0.2], [2.5, 0.31]],
    }  # fmt: skip
    record = {
        "graph": "toy", "triples": 79, "entities": 31, "machine": "a machine", "torch": "2",
        "measured": "2026-01-01T00:00:00", "seconds": 2, "runs": [run],
        "shares": {"RotH": {"matrix products": 0.25, "aten::add": 0.125}},
        "variants": {
            "RotH": {
                "as it is": {"first_5_steps_s": 0.5, "step_ms": 3.25},
                "torch.compile": {"refused": "NoCompiler: none | here"},
            }
        },
    }  # fmt: skip
    records = tmp_path / "records"
    records.mkdir()
    (records / "toy.json").write_text(json.dumps(record), encoding="utf-8")
    write_page(records, tmp_path)
    text = (tmp_path / "training.md").read_text(encoding="utf-8")
    wanted = "300 queries | 255 | 12,346 | 23,457 | 2.5 | 2.5 | not reached | 0.3100 |"
    assert wanted in text
    assert "| RotH | 25% | aten::add 12% |" in text.replace("\\", "")
    assert "| RotH | as it is | 3.25 ms | 0.5 s |" in text
    assert "refused: NoCompiler: none" in text
    assert json.loads((tmp_path / "training.json").read_text(encoding="utf-8")) == [record]

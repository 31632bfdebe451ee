"""The programs of benchmarks/ that need no training run, at a tiny size, and judge as they say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import index, predict
from benchmarks.index_contenders import Sample, contenders
from benchmarks.index_page import write_page
from serving.engine.engine import Engine
from tests.support.toy import toy_bundle

ROOT = Path(__file__).parents[2]
PEERS = Path(os.environ.get("MULDE_PEERS", ROOT / ".venv-peers/bin/python"))
QUICK = ("--rounds", "3", "--seconds", "0.01")

Record = dict[str, Any]


def measured(folder: Path, *more: str) -> Record:
    """The record of a toy with the index program."""
    bundle = toy_bundle(folder / "toy", entities=700, relations=2, dimension=8).path
    places = ("--records", str(folder / "records"), "--kept", str(folder / "kept"))
    done = CliRunner().invoke(index.app, ["measure", str(bundle), *QUICK, *places, *more])
    assert done.exit_code == 0, done.output
    found: Record = json.loads((folder / "records" / "toy.json").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return measured(tmp_path_factory.mktemp("index"))


def test_every_kind_and_every_limit_is_measured_and_exact_means_exact(record: Record) -> None:
    found = {one["name"]: one for one in record["contenders"]}
    kinds = {name.split(",")[0] for name, one in found.items() if one["group"] == "mulde"}
    assert kinds == {"engine (int8)", "int8", "table", "ivf"}
    assert {"FAISS Flat", "FAISS SQfp16", "FAISS SQ8", "NumPy: product, ten best"} <= set(found)
    for name, one in found.items():
        assert one["single_us"]["least"] > 0
        assert len(one["rounds"]["batch_us"]) == 3
        if one["group"] == "mulde" and name.endswith("exact"):
            assert (one["recall"], one["certified"]) == (1.0, 1.0)
    assert record["empty_call_us"]["median"] > 0


def test_recall_counts_what_scores_as_high_as_the_tenth_best(tmp_path: Path) -> None:
    engine = Engine.open(toy_bundle(tmp_path / "toy", entities=700).path)
    sample = Sample(engine)
    scores = engine.scores(sample.entities, sample.relations)
    ranked = np.argsort(-scores, axis=1)
    assert sample.recall(ranked[:, :10]) == 1.0
    assert sample.recall(ranked[:, 5:15]) == 0.5
    assert sample.recall(np.full((len(ranked), 10), -1)) == 0.0


def test_every_contender_answers_the_same_queries(tmp_path: Path) -> None:
    engine = Engine.open(toy_bundle(tmp_path / "toy", entities=700).path)
    sample = Sample(engine)
    rows = {}
    for one in contenders(sample, tmp_path):
        if one.name in ("FAISS Flat", "NumPy: product, ten best"):
            rows[one.name] = np.asarray(one.ask(slice(32, 64)))
    for found in rows.values():
        assert (np.sort(found) == np.sort(sample.best[32:64])).mean() > 0.99


def test_the_page_says_met_and_missed_by_the_median(record: Record, tmp_path: Path) -> None:
    by_name = {one["name"]: one for one in record["contenders"]}
    by_name["engine (int8), exact"]["rounds"] = {"single_us": [9, 10, 90], "batch_us": [3, 3, 3]}
    by_name["FAISS SQfp16"]["rounds"]["single_us"] = [10, 10, 10]
    by_name["the bare product, float32"]["rounds"]["batch_us"] = [1, 1.5, 9]
    peer = {"name": "PyKEEN", "version": "1", "call": "predict_target", "alone_ms": 10.0}
    write_page([{**record, "peers": [peer]}], tmp_path)
    lines = (tmp_path / "index.md").read_text("utf-8").splitlines()
    bars = [line for line in lines if line.endswith(("met |", "missed |"))]
    verdicts = {line.split("|")[1].strip(): line.split("|")[3].strip() for line in bars}
    assert verdicts["one query, certified exact / FAISS SQfp16"] == "1.00 (0.90 to 9.00), met"
    batch = verdicts["256 queries, certified exact / the bare product"]
    assert batch == "2.00 (0.33 to 3.00), missed"
    single = r"one query, PyKEEN predict\_target / mulde"
    assert verdicts[single] == "1,000 (111 to 1,111), met"
    assert "<svg" in (tmp_path / "index.svg").read_text("utf-8")


def test_the_peers_are_asked_for_the_same_ten(tmp_path: Path) -> None:
    if not PEERS.exists():
        pytest.skip("needs the environment of make bench-index, or MULDE_PEERS")
    found = measured(tmp_path, "--peers", str(PEERS))["peers"]
    assert {peer["name"] for peer in found} == {"PyKEEN", "TorchKGE", "hnswlib"}
    assert all(peer["alone_ms"] > 0 for peer in found)
    (hnsw,) = (peer for peer in found if peer["name"] == "hnswlib")
    assert hnsw["recall"] > 0.9


def test_the_batch_command_is_measured_beside_the_machine(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy", entities=300).path
    places = ("--records", str(tmp_path / "records"), "--rounds", "1", "--queries", "200")
    done = CliRunner().invoke(predict.app, ["measure", str(bundle), *places, "--complete"])
    assert done.exit_code == 0, done.output
    found: Record = json.loads((tmp_path / "records" / "toy.json").read_text("utf-8"))
    columns = {name: column["median"] for name, column in found["columns"].items()}
    assert columns["share"] == pytest.approx(columns["predict"] / columns["product"])
    assert columns["peak_mb"] > 20
    assert 0 < found["completion"]["questions"] < found["completion"]["candidates"]
    arguments = ["page", "--records", str(tmp_path / "records"), "--folder", str(tmp_path)]
    assert CliRunner().invoke(predict.app, arguments).exit_code == 0
    assert "| toy | 200 |" in (tmp_path / "predict.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["index", "predict"])
def test_the_pages_are_those_of_the_records(name: str, tmp_path: Path) -> None:
    program = {"index": index, "predict": predict}[name]
    arguments = ["page", "--folder", str(tmp_path)]
    assert CliRunner().invoke(program.app, arguments).exit_code == 0
    for ending in ("md", "json"):
        kept = ROOT / "benchmarks" / f"{name}.{ending}"
        assert (tmp_path / kept.name).read_text("utf-8") == kept.read_text("utf-8")

"""A bundle keeps to the budget that a user names, and says what else was tried."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mulde.bundle.bundle import open_bundle
from mulde.bundle.manifest import Trial
from mulde.cli import app
from mulde.errors import BundleError, ConfigError
from serving.engine.engine import Engine
from serving.index_benchmark import candidates_to_try
from tests.training.export.test_export import train, write_ring
from training.export.export import export
from training.export.table.index_selection import Wish, choose_precision, wish_of

TRIAL = Trial("ivf", 1000, 0, 0.99, 0.1, 50.0, 90.0, 20.0, cells=8, probes=2, fetched=10)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "ring"
    write_ring(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("run") / "run", "RotH", "linear")


def test_an_index_is_chosen_and_the_story_is_kept(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    manifest = export(checkpoint, data, tmp_path / "b", wish=Wish(1.0, 0.9, "memory"))
    trials = manifest.index.trials
    assert {trial.kind for trial in trials} == {"int8", "table", "ivf"}
    smallest = min(one.bytes + one.private_bytes for one in trials if one.recall >= 0.9)
    chosen = [one for one in trials if one.kind == manifest.index.kind]
    assert min(one.bytes + one.private_bytes for one in chosen) == smallest
    card = (tmp_path / "b" / "card.md").read_text()
    assert card.count("µs a query |") == len(trials)
    assert open_bundle(tmp_path / "b").manifest == manifest


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_table_of_few_bits_is_the_model(
    checkpoint: Path, data: Path, tmp_path: Path, precision: str
) -> None:
    """It is evaluated as it is stored, and asked through the same engine."""
    manifest = export(checkpoint, data, tmp_path / "b", precision=precision)
    assert manifest.precision == precision
    assert abs(manifest.checks["mrr_rounded"] - manifest.checks["mrr_trained"]) < 0.3
    with Engine.open(tmp_path / "b") as engine:
        entities, relations = np.arange(30), np.zeros(30, np.int64)
        answers = engine.predict(entities, relations, 5)
        scores = engine.scores(entities, relations)
        assert answers.exact.all()
        best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        assert answers.rows.tolist() == best.reshape(-1).tolist()


def test_the_finest_precision_that_fits_is_taken() -> None:
    sizes = {0.9: "fp16", 0.5: "int8", 0.3: "int4"}
    for budget, expected in sizes.items():
        found = choose_precision(Wish(budget), Path("b"), 30_000, 10_000, 40)
        assert found == expected
    with pytest.raises(BundleError, match=r"at most 0\.2 MB, found 0\.25 MB with a table in int4"):
        choose_precision(Wish(0.2), Path("b"), 30_000, 10_000, 40)


def test_what_satisfies_is_compared_by_the_target() -> None:
    slow = replace(TRIAL, bytes=900, single_us=80.0)
    assert Wish(target="latency").cost(TRIAL) < Wish(target="latency").cost(slow)
    assert Wish(target="memory").cost(slow) < Wish(target="memory").cost(TRIAL)
    assert Wish(0.0020, 0.99).allows(TRIAL, 1000)
    assert not Wish(0.0020, 0.99).allows(TRIAL, 1001)
    assert not Wish(0.0020, 0.991).allows(TRIAL, 0)


def test_a_wish_that_nothing_grants_is_refused_with_what_was_tried(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=r"not published; expected at most 0\.001 MB"):
        export(checkpoint, data, tmp_path / "b", wish=Wish(0.001))
    with pytest.raises(BundleError, match=r"no index has at most 0.03 MB .*:\n.*int8: ") as caught:
        export(checkpoint, data, tmp_path / "b", precision="fp32", wish=Wish(0.03, 1.0))
    assert str(caught.value).count("recall") == 1 + len(candidates_to_try(60))
    assert not (tmp_path / "b").exists()


def test_flags_without_meaning_are_refused() -> None:
    assert wish_of(None, None, None) is None
    assert wish_of(4, None, None) == Wish(4, 0.99, "latency")
    for budget, recall, target, flag in (
        (0.0, None, None, "--budget-mb"),
        (None, 1.5, None, "--min-recall"),
        (None, None, "speed", "--target"),
    ):
        with pytest.raises(ConfigError, match=flag):
            wish_of(budget, recall, target)


def test_a_bundle_is_measured_again_where_it_is(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    export(checkpoint, data, tmp_path / "b", wish=Wish(min_recall=0.5, target="memory"))
    result = CliRunner().invoke(app, ["bench", str(tmp_path / "b"), "--json"])
    trials = json.loads(result.stdout)
    assert [one["kind"] for one in trials][-2:] == ["int8", "table"]
    assert all(one["single_us"] > 0 and one["recall"] >= 0.5 for one in trials)
    assert trials[-2]["certified"] == 1.0

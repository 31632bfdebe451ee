"""Cards and pages show the names of graphs, recipes and machines, and never become markup."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import accuracy
from benchmarks.accuracy_page import Record, TextRecord
from mulde.bundle.manifest import Dataset, Manifest, RecipeStamp, Score
from mulde.errors import BundleError
from tests.support.hostile import HOSTILE, steering
from training.export.card.card import Provenance, card
from training.export.card.paper_differences import Departure

FIGURES = {"mrr": 0.5, "hits@1": 0.4, "hits@3": 0.5, "hits@10": 0.6}
CHECKS = ("mrr_trained", "mrr_rounded", "mrr_served", "onnx_error", "recall@10")
MANIFEST = Manifest(
    name="toy",
    version="1",
    created="2026-01-01T00:00:00Z",
    family="lorentz",
    score=Score("linear", 1.0),
    dimension=8,
    width=16,
    precision="fp16",
    entities=3,
    relations=1,
    dataset=Dataset("graph", "0" * 64, {"train": 3, "valid": 1, "test": 1}),
    recipe=RecipeStamp("recipe", "0" * 64),
    libraries={"numpy": "2.0"},
    quality={"test": {"total": FIGURES}},
    checks=dict.fromkeys(CHECKS, 1.0),
)
PLAIN = Provenance("a machine", "another", 1.0, 1, 1, ("teacher",), "a note", "a licence")


def as_json(record: Record | TextRecord) -> str:
    return json.dumps(asdict(record))


def test_a_curvature_is_told_of_hyperbolic_models_alone() -> None:
    hyperbolic, bilinear = (
        card(replace(MANIFEST, family=family), PLAIN) for family in ("RotH", "ComplEx")
    )
    assert "score linear in the answer's row, curvature -1; table" in hyperbolic
    assert "curvature" not in bilinear


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_card_shows_a_hostile_name_as_text(name: str) -> None:
    manifest = replace(
        MANIFEST,
        dataset=replace(MANIFEST.dataset, name=name),
        recipe=replace(MANIFEST.recipe, name=name),
        libraries={"numpy": name},
    )
    provenance = replace(
        PLAIN, trained_on=name, exported_on=name, teachers=(name,), notes=name, licence=name
    )
    text = card(manifest, provenance)
    assert not steering(text)
    assert not re.search(r"(?<!\\)[<>`\[]", text)
    assert len(text.splitlines()) == len(card(MANIFEST, PLAIN).splitlines())


def test_a_card_says_what_was_not_tested_on_a_gpu() -> None:
    assert "- not tested on a GPU" in card(MANIFEST, PLAIN)
    on_a_gpu = replace(PLAIN, trained_on="a machine, 8 cores, GPU of some name")
    assert "not tested on a GPU" not in card(MANIFEST, on_a_gpu)


def test_a_card_says_which_relations_keep_self_loops_as_text() -> None:
    checks = {**MANIFEST.checks, "mrr_with_self_loops": 0.25}
    manifest = replace(MANIFEST, loops=(), checks=checks)
    told = card(manifest, replace(PLAIN, self_loops=("<b>likes", "knows")))
    assert "would be 0.2500 instead of 1.0000" in told
    (line,) = (line for line in told.splitlines() if "Relations that keep it" in line)
    assert line.endswith("likes, knows.")
    assert not re.search(r"(?<!\\)[<>`\[]", line)
    none = card(manifest, replace(PLAIN, self_loops=()))
    assert "would be 0.2500" in none
    assert "Relations that keep it" not in none
    assert "few or no self-loops" not in card(MANIFEST, PLAIN)


def test_a_card_names_the_slots_of_the_relation_priors_as_text() -> None:
    manifest = replace(MANIFEST, checks={**MANIFEST.checks, "mrr_without_priors": 0.25})
    priors = ("(?, <b>likes, ..)", "(.., knows, ?)")
    told = card(manifest, replace(PLAIN, priors=priors))
    (line,) = (line for line in told.splitlines() if "as an answer to" in line)
    assert "likes, ..) and (.., knows, ?)" in line
    assert "would be 0.2500" in line
    assert not re.search(r"(?<!\\)[<>`\[]", line)
    assert "as an answer to" not in card(MANIFEST, PLAIN)


def test_a_card_shows_departures_as_text() -> None:
    told = replace(PLAIN, departures=(Departure("junior.score", "<b>distance", "linear|x"),))
    text = card(MANIFEST, told)
    assert not steering(text)
    (line,) = (line for line in text.splitlines() if line.startswith("| junior"))
    assert not re.search(r"(?<!\\)[<>`\[]", line)
    assert len(re.findall(r"(?<!\\)\|", line)) == 4
    assert "differs from the paper" not in card(MANIFEST, PLAIN)


@pytest.mark.parametrize("family", ["", "<b>", "a b", "\x1b[2J", "x" * 65, "a\n"])
def test_a_family_that_is_no_name_is_refused(family: str) -> None:
    text = MANIFEST.to_json().replace('"lorentz"', repr(family).replace("'", '"'))
    with pytest.raises(BundleError, match=r"family: expected|expected JSON"):
        Manifest.from_json(Path("manifest.json"), text)


@pytest.mark.filterwarnings("ignore::UserWarning")  # glyphs that the chart's font does not have
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_page_of_figures_keeps_its_table_whatever_a_run_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(
        graph="toy",
        recipe=name,
        recipe_sha256="0" * 64,
        stage=name,
        model={"scorer": name, "score": name, "dimension": 8},
        training={},
        teachers=[],
        seed=1,
        machine=name,
        epochs=2,
        best_epoch=1,
        seconds=1.0,
        queries_per_s=1.0,
        valid=FIGURES,
        test=FIGURES,
        curve=[(0.0, 0.1), (1.0, 0.2)],
    )
    plain = replace(record, recipe="a", stage="junior", machine="m")
    monkeypatch.setattr(accuracy, "HERE", tmp_path)
    monkeypatch.setattr(accuracy, "RECORDS", tmp_path)
    monkeypatch.setattr(accuracy, "TEXT_RECORDS", tmp_path / "text")
    (tmp_path / "one.json").write_text(as_json(record))
    (tmp_path / "two.json").write_text(as_json(plain))
    (tmp_path / "three.json").write_text(as_json(replace(record, stage="junior")))
    text = TextRecord("toy", name, name, 8, 4, 0.5, 0.4, FIGURES, FIGURES)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "one.json").write_text(as_json(text))
    accuracy.page()
    table = [
        line for line in (tmp_path / "accuracy.md").read_text("utf-8").splitlines() if "| " in line
    ]
    assert not steering("\n".join(table))
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    # Headings, then the means, the model with text and the runs.
    assert widths == [15] * 3 + [13] * 2 + [14] * 4
    assert not re.search(r"(?<!\\)[<>`\[]", "\n".join(table))

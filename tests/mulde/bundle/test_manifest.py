"""The manifest: its JSON, and what is refused with which words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mulde.bundle.manifest import Dataset, FileStamp, Manifest, RecipeStamp, Score, utc_now
from mulde.errors import BundleError

PATH = Path("b/manifest.json")
MANIFEST = Manifest(
    name="wordnet-32",
    version="3",
    created="2026-01-31T12:00:00Z",
    family="lorentz",
    score=Score("linear", 1.0),
    dimension=32,
    width=40,
    precision="fp16",
    entities=7000,
    relations=12,
    dataset=Dataset("wordnet", "a" * 64, {"train": 9, "valid": 2, "test": 2}),
    recipe=RecipeStamp("best", "b" * 64),
    files={"encoder.onnx": FileStamp(3, "c" * 64)},
)


def changed(*path: str, value: Any) -> str:
    """JSON of the manifest with one value replaced."""
    data = json.loads(MANIFEST.to_json())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(data)


def test_a_manifest_survives_json() -> None:
    assert Manifest.from_json(PATH, MANIFEST.to_json()) == MANIFEST


def test_a_manifest_of_the_first_format_leaves_no_loops_out() -> None:
    data = json.loads(MANIFEST.to_json())
    del data["loops"]
    read = Manifest.from_json(PATH, json.dumps({**data, "format_version": 1}))
    assert read.loops is None
    assert not read.loopless.any()


def test_loops_name_the_relations_that_may_have_them() -> None:
    assert replace(MANIFEST, relations=3, loops=(1,)).loopless.tolist() == 2 * [True, False, True]
    assert replace(MANIFEST, relations=2, loops=()).loopless.all()


@pytest.mark.parametrize("loops", [[3], [-1], [1, 0], [1, 1], [0, 1, 2, 3], ["0"], [0.0], 1])
def test_loops_of_other_than_ascending_relations_are_refused(loops: object) -> None:
    data = json.loads(replace(MANIFEST, relations=3).to_json())
    with pytest.raises(BundleError, match="loops"):
        Manifest.from_json(PATH, json.dumps({**data, "loops": loops}))


def test_relation_priors_with_a_distance_score_are_refused() -> None:
    """Priors are a part of the inner product, which a distance score is not linear in."""
    assert MANIFEST.layout.prior_count == 0
    data = json.loads(MANIFEST.to_json())
    data["score"]["kind"] = "distance"
    Manifest.from_json(PATH, json.dumps(data))
    with pytest.raises(BundleError, match=r"traits: expected none besides text .* found 2"):
        Manifest.from_json(PATH, json.dumps({**data, "traits": 2}))


def test_equal_manifests_give_equal_bytes() -> None:
    shuffled = replace(MANIFEST, libraries={"b": "1", "a": "2"})
    sorted_ = replace(MANIFEST, libraries={"a": "2", "b": "1"})
    assert shuffled.to_json() == sorted_.to_json()


@pytest.mark.parametrize("version", [0, 4, -1, "1", None, 1.0, True])
def test_another_format_version_is_refused(version: object) -> None:
    with pytest.raises(BundleError, match="expected format_version 1 to 3, found"):
        Manifest.from_json(PATH, changed("format_version", value=version))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("colour",), "red", "colour: expected no such field"),
        (("score", "bias"), 1, r"score\.bias: expected no such field"),
        (("score", "kind"), "cosine", "score.kind: expected 'linear' or 'distance'"),
        (("score", "curvature"), 0, "score.curvature: expected greater than 0"),
        (("score",), 5, "score: expected a table"),
        (("dimension",), 0, "dimension: expected greater than or equal to 1"),
        (("dimension",), True, "dimension: expected a valid integer"),
        (("width",), 48, "width: expected 40, found 48"),
        (("precision",), "int3", "precision: expected 'fp16', 'fp32'"),
        (("name",), "../up", "name: expected text that matches"),
        (("version",), "", "version: expected text that matches"),
        (("created",), "yesterday", "created: expected a time in ISO 8601"),
        (("dataset", "sha256"), "A" * 64, "dataset.sha256"),
        (("dataset", "counts", "train"), "9", "dataset.counts.train: expected a valid integer"),
        (("files", "encoder.onnx", "sha256"), "c", "files.encoder.onnx.sha256"),
        (
            ("files", "a/b"),
            {"bytes": 1, "sha256": "c" * 64},
            "files.a/b: expected text",
        ),
        (("quality",), {"test": {"tail": {"mrr": 1.5}}}, "quality.test.tail.mrr: expected less"),
        (("quality",), {"test": {"tail": {"mrr": -0.1}}}, "quality.test.tail.mrr: expected great"),
        (("checks",), {"recall": None}, "checks.recall: expected a valid number"),
    ],
)
def test_a_wrong_field_is_named(path: tuple[str, ...], value: object, words: str) -> None:
    with pytest.raises(BundleError, match=words) as caught:
        Manifest.from_json(PATH, changed(*path, value=value))
    assert caught.value.path == PATH


def test_a_missing_field_is_named() -> None:
    data = json.loads(MANIFEST.to_json())
    del data["recipe"]["name"]
    with pytest.raises(BundleError, match=r"recipe\.name: expected a value, found none"):
        Manifest.from_json(PATH, json.dumps(data))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        b"\xff\xfe",
        "[" * 100_000,
        '{"name": 1, "name": 2}',
        '{"dimension": ' + "9" * 5000 + "}",
    ],
    ids=["empty", "cut", "bytes", "deep", "repeated", "long"],
)
def test_what_is_not_sound_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(BundleError, match="expected JSON"):
        Manifest.from_json(PATH, text)


@pytest.mark.parametrize("figure", ["1e999", "NaN", "-Infinity"])
def test_a_figure_that_is_not_finite_is_refused(figure: str) -> None:
    text = changed("checks", value={"a": 1}).replace('"a": 1', f'"a": {figure}')
    with pytest.raises(BundleError, match=r"checks\.a: expected a finite number"):
        Manifest.from_json(PATH, text)


def test_an_integer_will_do_for_a_float() -> None:
    read = Manifest.from_json(PATH, changed("score", "curvature", value=2))
    assert read.score.curvature == 2.0
    assert isinstance(read.score.curvature, float)


def test_a_manifest_cannot_be_built_wrong() -> None:
    with pytest.raises(ValueError, match="width"):
        replace(MANIFEST, dimension=40)


def test_the_present_is_a_valid_creation_time() -> None:
    assert replace(MANIFEST, created=utc_now()).created.endswith("Z")

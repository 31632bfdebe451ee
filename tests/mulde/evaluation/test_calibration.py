"""Calibration: strictly increasing maps from scores to probabilities, and their file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mulde.errors import BundleError
from mulde.evaluation.calibration import Calibration, Curves, ramps
from tests.support.toy import toy_calibration

RELATIONS = 2
CALIBRATION = toy_calibration(RELATIONS)


def test_ramps_rise_and_sum_to_the_score() -> None:
    scores = np.linspace(-9, 9, 50)
    steps = ramps(scores)
    np.testing.assert_allclose(steps.sum(axis=1), scores, atol=1e-12)
    assert (np.diff(steps, axis=0) > 0).all()


def test_a_curve_with_slopes_of_one_is_the_sigmoid_of_the_score() -> None:
    found = CALIBRATION.probability(np.array([-2.0, 0.0, 1.5]), np.zeros(3, int), priors=True)
    sigmoid = 1 / (1 + np.exp(-np.array([-2.0, 0.0, 1.5])))
    np.testing.assert_allclose(found, 0.001 + 0.998 * sigmoid)


def test_each_direction_has_its_own_curve() -> None:
    found = CALIBRATION.probability(np.zeros(2), np.array([1, 1 + RELATIONS]), priors=False)
    np.testing.assert_allclose(found, 0.001 + 0.998 / (1 + np.exp([-0.0, -0.5])))


def test_probabilities_have_no_plateaus() -> None:
    scores = np.linspace(-20, 20, 1000)
    found = CALIBRATION.probability(scores, np.zeros(1000, int), priors=True)
    assert (np.diff(found) > 0).all()


def test_a_plausibility_rises_with_both_scores_and_with_the_base_rate() -> None:
    scores = np.array([[0.0, 0.0], [0.1, 0.0], [0.1, 0.1]])
    relations, biases = np.zeros(3, int), np.zeros((3, 4))
    tails, heads = scores.T
    at_half = CALIBRATION.plausibility(tails, heads, relations, biases)
    at_tenth = CALIBRATION.plausibility(tails, heads, relations, biases, base_rate=0.1)
    assert at_half[0] == pytest.approx(0.5)
    assert at_tenth[0] == pytest.approx(0.001 + 0.998 * 0.1)
    assert (np.diff(at_half) > 0).all()


def test_a_plausibility_is_the_same_to_the_last_bit_in_any_batch() -> None:
    generator = np.random.default_rng(0)
    (tails, heads), biases = generator.normal(size=(2, 100)), generator.normal(size=(100, 4))
    relations = generator.integers(0, RELATIONS, 100)
    together = CALIBRATION.plausibility(tails, heads, relations, biases)
    each = [slice(i, i + 1) for i in range(100)]
    alone = [CALIBRATION.plausibility(tails[i], heads[i], relations[i], biases[i])[0] for i in each]
    assert together.tolist() == alone


def test_it_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(CALIBRATION.to_json())
    assert Calibration.read(path) == CALIBRATION


def test_a_file_of_the_first_version_is_not_used(tmp_path: Path) -> None:
    curve = {"scores": [0.0], "probabilities": [0.5]}
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"tail": curve, "head": curve, "event": "", "error": {}}))
    assert Calibration.read(path) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("intercept", [0.0]),
        ("centre", []),
        ("centre", [[0.0, 0.0]] * 4),
        ("centre", [[0.0], [0.0], [0.0], []]),
        ("scale", [[0.0]] * 4),
        ("slope", [[[1.0, 1.0, 1.0, 1.0]]] * 4),
        ("slope", [[[1.0, 1.0, -1.0, 1.0, 1.0]]] * 4),
        ("slope", [[[1.0, 1.0, "1", 1.0, 1.0]]] * 4),
        ("floor", 0.5),
        ("floor", 0.0),
    ],
)
def test_curves_that_do_not_rise_or_fit_are_refused(
    tmp_path: Path, field: str, value: object
) -> None:
    data = json.loads(CALIBRATION.to_json())
    data["new_facts"][field] = value
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match=r"calibration\.json"):
        Calibration.read(path)


def test_curves_of_another_number_of_relations_are_refused(tmp_path: Path) -> None:
    data = json.loads(CALIBRATION.to_json())
    data["triples"] = json.loads(toy_calibration(3).to_json())["triples"]
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match=r"new_facts: expected the shape \(6, 1\)"):
        Calibration.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\udcff", "[" * 100_000])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError, match=r"calibration\.json"):
        Calibration.read(path)


def test_a_logit_is_the_sum_of_the_ramps_by_their_slopes() -> None:
    generator = np.random.default_rng(0)
    slope = generator.uniform(0.1, 2.0, (2, 2, 5))
    curves = Curves(
        intercept=(0.5, -1.0),
        centre=((1.0, 2.0), (0.0, -1.0)),
        scale=((2.0, 1.0), (0.5, 3.0)),
        slope=tuple(tuple(tuple(row) for row in group) for group in slope.tolist()),
        floor=0.001,
    )
    scores, groups = generator.normal(0, 4, (50, 2)), generator.integers(0, 2, 50)
    z = (scores - np.array(curves.centre)[groups]) / np.array(curves.scale)[groups]
    expected = np.array(curves.intercept)[groups] + (slope[groups] * ramps(z)).sum(axis=(1, 2))
    np.testing.assert_allclose(curves.logits(scores, groups), expected, atol=1e-12)

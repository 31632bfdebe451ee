"""Calibration: monotone maps from scores to probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mulde.errors import BundleError
from mulde.evaluation.calibration import Calibration, Curve

CALIBRATION = Calibration(
    tail=Curve((-2.0, 0.0, 1.0), (0.1, 0.5, 0.8)),
    head=Curve((0.0,), (0.25,)),
    event="the answer is true",
    error={"tail": 0.01},
)


def test_probabilities_are_interpolated_and_constant_outside() -> None:
    scores = np.array([-5.0, -2.0, -1.0, 0.5, 1.0, 9.0])
    np.testing.assert_allclose(CALIBRATION.tail(scores), [0.1, 0.1, 0.3, 0.65, 0.8, 0.8])


def test_each_direction_has_its_own_map() -> None:
    found = CALIBRATION.probabilities(np.zeros(2), np.array([False, True]))
    np.testing.assert_allclose(found, [0.5, 0.25])


def test_it_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(CALIBRATION.to_json())
    assert Calibration.read(path) == CALIBRATION


@pytest.mark.parametrize(
    ("scores", "probabilities"),
    [
        ([], []),
        ([0, 1], [0.5]),
        ([1, 0], [0.1, 0.2]),
        ([0, 0], [0.1, 0.2]),
        ([0, 1], [0.2, 0.1]),
        ([0, 1], [-0.1, 0.2]),
        ([0, 1], [0.5, 1.1]),
        ([0, "1"], [0.5, 1.0]),
    ],
)
def test_a_map_that_is_not_monotone_is_refused(
    tmp_path: Path, scores: list[float], probabilities: list[float]
) -> None:
    data = json.loads(CALIBRATION.to_json())
    data["tail"] = {"scores": scores, "probabilities": probabilities}
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match=r"calibration\.json"):
        Calibration.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\udcff", "[" * 100_000])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError, match=r"calibration\.json"):
        Calibration.read(path)

"""Reliability: the expected calibration error and the AUC of numbers checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.evaluation.reliability import auc, reliability


def test_the_error_of_numbers_that_are_off_by_a_tenth_is_a_tenth() -> None:
    true = np.arange(1000) % 2 == 0
    assert reliability(np.full(1000, 0.6), true).error == pytest.approx(0.1)


def test_numbers_drawn_with_their_probability_have_a_small_error() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.random(20_000)
    true = generator.random(20_000) < probabilities
    assert reliability(probabilities, true).error < 0.02


def test_a_weight_of_two_counts_as_two_items() -> None:
    probabilities, true = np.full(100, 0.5), np.arange(100) < 25
    weight = np.where(true, 3.0, 1.0)
    assert reliability(probabilities, true).error == pytest.approx(0.25)
    assert reliability(probabilities, true, weight).error == pytest.approx(0.0)


def test_a_bin_holds_at_least_fifty_items() -> None:
    found = reliability(np.linspace(0, 1, 120), np.ones(120, dtype=bool))
    assert len(found.weight) == 2


def test_the_auc_counts_pairs_and_half_of_ties() -> None:
    assert auc(np.array([3.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx(3.5 / 4)

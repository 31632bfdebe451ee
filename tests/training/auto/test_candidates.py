"""Candidates of the race: settings that follow from a graph's size."""

from __future__ import annotations

import pytest

from training.auto.candidates import Size, candidates, lasting, neighbours
from training.recipe import Training


def test_three_families_race_on_a_small_graph() -> None:
    scorers = {one.model.scorer for one in candidates(Size(1000, 5000), 32)}
    assert scorers == {"RotH", "ComplEx", "RESCAL"}


def test_no_loss_over_all_entities_is_tried_on_a_large_graph() -> None:
    found = candidates(Size(1_000_000, 2_000_000), 32)
    assert {one.training.loss for one in found} == {"bce"}


def test_a_sample_stands_for_all_entities_where_they_are_many() -> None:
    for entities, partition in ((8_000, "all"), (14_541, "negatives")):
        found = candidates(Size(entities, 149_000, 237, facts=272_000), 32)
        losses = [one.training for one in found if one.training.loss == "cross-entropy"]
        assert {one.partition for one in losses} == {partition}
        assert all(one.negatives < entities for one in losses)


def test_roth_races_first_and_few_candidates_do_where_entities_have_few_facts() -> None:
    found = candidates(Size(8_000, 18_000, 15, facts=16_000), 32)
    assert found[0].model.scorer == "RotH"
    assert len(found) < len(candidates(Size(1_000, 2_000, 15, facts=2_000), 32))
    assert candidates(Size(1_000, 2_000, 15, facts=2_000), 32)[0].model.scorer == "RotH"
    assert candidates(Size(1_000, 2_000, 15, facts=9_000), 32)[0].model.scorer == "ComplEx"


def test_where_facts_are_many_two_penalties_of_each_bilinear_family_race_before_roth() -> None:
    found = candidates(Size(1_000, 2_000, 15, facts=9_000), 32)
    first = [one.model.scorer for one in found[:5]]
    assert first == ["ComplEx", "RESCAL", "ComplEx", "RESCAL", "RotH"]


def test_candidates_have_different_names() -> None:
    names = [one.name for one in candidates(Size(1000, 5000), 32)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("queries", [1, 50, 900, 100_000])
def test_batches_fit_the_number_of_queries(queries: int) -> None:
    for one in candidates(Size(100, queries), 32):
        assert 32 <= one.training.batch <= 500
        assert one.training.loss != "bce" or one.training.negatives <= 100


@pytest.mark.parametrize("epochs", range(1, 60))
def test_the_last_epoch_is_validated(epochs: int) -> None:
    training = lasting(Training(epochs=1), epochs)
    assert training.epochs % training.validate_every == 0
    assert epochs <= training.epochs < epochs + training.validate_every


def test_a_neighbour_is_named_by_its_own_setting_and_may_train_for_half_as_long() -> None:
    penalised = candidates(Size(1_000, 2_000, 15, facts=9_000), 32)[0]
    found = {one.setting: one.training for one in neighbours(penalised)}
    assert {f"penalty {one.penalty:g}" for one in found.values()} == {
        setting.split(",")[0] for setting in found
    }
    assert found["penalty 0.02, half the epochs"].epochs < 0.6 * penalised.training.epochs

"""A bundle in this process answers as the server does, in DataFrames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mulde
from mulde.client import Client
from mulde.errors import BundleError, InvalidArgument, UnknownName
from serving.local.client import LocalClient
from serving.local.model import LocalModel
from tests.support.toy import Toy, toy_bundle


@pytest.fixture(scope="module")
def model(served_toy: Toy) -> LocalModel:
    loaded: LocalModel = mulde.load(served_toy.path)
    return loaded


@pytest.mark.parametrize("exclude_known", [True, False])
def test_local_answers_are_those_of_the_server(
    served_toy: Toy, client: Client, exclude_known: bool
) -> None:
    local = LocalClient(served_toy.path)
    heads = list(local.registry.snapshot.pick("", "").bundle.vocabulary.entities.ids[:20])
    relation = next(iter(local.relations()))[0]
    here = local.predict_tails(heads, relation, k=5, exclude_known=exclude_known)
    there = client.predict_tails(heads, relation, k=5, exclude_known=exclude_known)
    assert here.ids == there.ids
    np.testing.assert_array_equal(here.scores, there.scores)
    np.testing.assert_array_equal(here.exact, there.exact)


def test_answers_are_rows_of_a_frame_with_their_question(model: LocalModel) -> None:
    heads = list(model.bundle.vocabulary.entities.ids[:2])
    relation = model.relations()["id"][0]
    frame = model.predict_tails(heads, relation, k=3)
    assert list(frame["head"]) == [heads[0]] * 3 + [heads[1]] * 3
    assert list(frame["rank"]) == [1, 2, 3, 1, 2, 3]
    assert frame["score"].is_monotonic_decreasing or len(set(frame["head"])) == 2


def test_a_frame_says_score_and_relation_prior_apart(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy", entities=60, relations=2, traits=2)
    model = mulde.load(toy.path)
    new = model.predict_tails("Q0000001", "P0", k=20)
    assert (new["score"] + new["prior"]).is_monotonic_decreasing
    scored = model.score(["Q0000001"] * 20, "P0", list(new["tail"]))
    assert list(scored["tail_scores"]) == list(new["score"])
    assert "prior" not in model.predict_tails("Q0000001", "P0", exclude_known=False)


def test_an_unknown_entity_is_an_error_that_names_it(model: LocalModel) -> None:
    with pytest.raises(UnknownName, match="no-such-entity"):
        model.predict_tails("no-such-entity", model.relations()["id"][0])


def test_admin_calls_need_a_server(model: LocalModel) -> None:
    with pytest.raises(InvalidArgument, match="needs no server"):
        model.client.models()


def test_vectors_have_one_row_for_each_entity(model: LocalModel) -> None:
    frame = model.vectors()
    manifest = model.bundle.manifest
    assert frame.shape == (manifest.entities, manifest.dimension)


def test_a_saved_model_opens_and_is_not_replaced_by_accident(
    model: LocalModel, tmp_path: Path
) -> None:
    saved = mulde.load(model.save(tmp_path / "copy"))
    assert saved.bundle.manifest == model.bundle.manifest
    with pytest.raises(BundleError, match="exists"):
        model.save(tmp_path / "copy")
    model.save(tmp_path / "copy", overwrite=True)

"""A loaded version: what callers share, and that it goes when it is let go of."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from serving.registry.batch_request import Ask, answer_together
from serving.registry.model import Model, Tuning
from serving.registry.repository import Place
from tests.support.toy import toy_bundle


@pytest.fixture
def model(tmp_path: Path) -> Model:
    path = toy_bundle(tmp_path / "toy", entities=300).path
    return Model.load(Place("toy", "1", path), Tuning())


def ask(entities: list[int], k: int, **more: object) -> Ask:
    rows = np.array(entities)
    fields = {"exclude_known": True, "exact": False, "allow": None, "deny": None} | more
    return Ask(rows, rows % 6, k, asked=monotonic(), **fields)  # type: ignore[arg-type]


def test_each_caller_of_a_shared_run_gets_its_own_answers(model: Model) -> None:
    asks = [ask([1, 2, 3], 4), ask([9], 1), ask([5, 6], 7)]
    together = answer_together(model.engine, asks)
    for one, reply in zip(asks, together, strict=True):
        (alone,) = answer_together(model.engine, [one])
        assert reply.answers.rows.tolist() == alone.answers.rows.tolist()
        assert reply.answers.scores.tolist() == alone.answers.scores.tolist()
        assert reply.answers.offsets.tolist() == alone.answers.offsets.tolist()
        assert reply.answers.candidates.tolist() == alone.answers.candidates.tolist()


def test_only_asks_that_want_the_same_share_a_run() -> None:
    plain = ask([1], 3)
    assert plain.key == ask([2], 5).key
    assert plain.key != ask([1], 3, exclude_known=False).key
    assert plain.key != ask([1], 3, exact=True).key
    filtered = ask([1], 3, allow=np.array([4])), ask([1], 3, allow=np.array([4]))
    assert len({plain.key, filtered[0].key, filtered[1].key}) == 3


def test_a_model_goes_at_once_when_it_is_let_go_of(tmp_path: Path) -> None:
    path = toy_bundle(tmp_path / "toy", entities=300).path
    gc.collect()
    gc.disable()
    try:
        model = Model.load(Place("toy", "1", path), Tuning())
        model.batcher.submit(ask([1, 2], 3))
        model.namer.all_entities("heads", ["Q0000001"])
        watched = weakref.ref(model), weakref.ref(model.engine)
        del model
        assert [one() for one in watched] == [None, None]
    finally:
        gc.enable()

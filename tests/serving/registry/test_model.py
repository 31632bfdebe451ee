"""A loaded version is freed with its last user."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

from serving.registry.model import Model, Tuning
from serving.registry.repository import Place
from tests.support.toy import toy_bundle


def test_a_model_is_freed_at_once_with_its_last_user(tmp_path: Path) -> None:
    path = toy_bundle(tmp_path / "toy", entities=300).path
    gc.collect()
    gc.disable()
    try:
        model = Model.load(Place("toy", "1", path), Tuning())
        model.engine.predict([1, 2], [0, 1], 3)
        model.resolver.all_entities("heads", ["Q0000001"], lambda: None)
        watched = weakref.ref(model), weakref.ref(model.engine)
        del model
        assert [one() for one in watched] == [None, None]
    finally:
        gc.enable()

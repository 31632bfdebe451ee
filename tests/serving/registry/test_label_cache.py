"""Names of rows: the same whatever was asked for before."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mulde.bundle.bundle import open_bundle
from serving.registry.entity_resolver import LabelCache
from tests.support.toy import toy_bundle


def test_names_of_rows_do_not_depend_on_what_is_kept(tmp_path: Path) -> None:
    """Batches of any size, in part of rows that were asked for before, with repeats."""
    names = open_bundle(toy_bundle(tmp_path / "toy", entities=500, relations=2).path).vocabulary
    cache, generator = LabelCache(names.entities), np.random.default_rng(0)
    for size in (1, 3, 64, 65, 300, 2000, 1, 65):
        rows = generator.integers(500, size=size)
        assert cache.ids.take(rows) == names.entities.ids.take(rows)
        assert cache.labels.take(rows) == names.entities.labels.take(rows)
    assert cache.ids.take(np.zeros(0, np.int64)) == []

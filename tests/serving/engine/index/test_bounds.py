"""Bounds of a table: they hold for every row, lies are refused, and the rest is believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic.bundle import write_synthetic_bundle
from benchmarks.synthetic.graph import SyntheticGraph
from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.draft import write_bundle
from mulde.bundle.files import MEASURES
from mulde.bundle.table.bounds import TableBounds
from mulde.errors import BundleError
from serving.engine.engine import Engine

GRAPH = SyntheticGraph(6000, relations=4, seed=5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells") / "bundle"
    write_synthetic_bundle(GRAPH, folder, precision="int8", cells=True)
    return folder


def measures_of(bundle: Bundle) -> TableBounds:
    assert bundle.measures is not None
    return bundle.measures


def claiming(folder: Path, bundle: Path, **claims: object) -> Path:
    """The same bundle with other measures, sealed."""
    opened = open_bundle(bundle)
    replace(measures_of(opened), **claims).write(folder / MEASURES)  # type: ignore[arg-type]
    files = {name: opened.file(name) for name in opened.manifest.files}
    write_bundle(folder / "bundle", opened.manifest, {**files, MEASURES: folder / MEASURES})
    return folder / "bundle"


def test_answers_are_the_same_whether_the_table_was_read_or_not(bundle: Path) -> None:
    generator = np.random.default_rng(0)
    entities, relations = generator.integers(0, [[6000], [8]], size=(2, 200))
    read, unread = (Engine.open(open_bundle(bundle, verify=verify)) for verify in (True, False))
    for exact in (True, False):
        one, other = (e.predict(entities, relations, 10, exact=exact) for e in (read, unread))
        assert np.array_equal(one.rows, other.rows)
        assert np.array_equal(one.scores, other.scores)
        assert np.array_equal(one.exact, other.exact)


def test_what_was_verified_is_believed(bundle: Path, tmp_path: Path) -> None:
    """A lie that nobody looked at makes answers seem certain: so verifying looks (see below)."""
    reach = measures_of(open_bundle(bundle)).reach - 1e6
    lying = claiming(tmp_path, bundle, reach=reach)
    entities, relations = np.arange(200), np.arange(200) % 8
    certain = []
    for folder in (bundle, lying):
        engine = Engine.open(open_bundle(folder, verify=False))
        certain.append(engine.predict(entities, relations, 1, exact=False).exact.mean())
    assert certain[0] < 0.2 < 0.8 < certain[1]


@pytest.mark.parametrize("name", ["row_norm", "tail_bias", "length", "norm", "error", "reach"])
def test_a_measure_that_a_row_exceeds_is_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    true = getattr(measures_of(open_bundle(bundle)), name)
    folder = claiming(tmp_path, bundle, **{name: true - 1e-3 * np.abs(true)})
    with pytest.raises(BundleError, match="exceeds"):
        Engine.open(folder)


def test_means_longer_than_a_row_are_refused(bundle: Path, tmp_path: Path) -> None:
    claimed = measures_of(open_bundle(bundle))
    far = claimed.means + np.float32(100)
    folder = claiming(tmp_path, bundle, means=far, reach=claimed.reach + 1e6)
    with pytest.raises(BundleError, match="a mean is longer"):
        Engine.open(folder)


def test_weights_that_leave_out_a_column_are_refused(bundle: Path, tmp_path: Path) -> None:
    weights = measures_of(open_bundle(bundle)).weights.copy()
    weights[3] = 0.0
    with pytest.raises(BundleError, match="expected measures of these"):
        Engine.open(claiming(tmp_path, bundle, weights=weights))


def test_measures_of_another_size_or_not_finite_are_refused(bundle: Path, tmp_path: Path) -> None:
    claimed = measures_of(open_bundle(bundle))
    path = bundle / MEASURES
    width, cells = claimed.means.shape
    with pytest.raises(BundleError, match="expected measures"):
        TableBounds.read(path, width, cells + 1)
    replace(claimed, norm=float("nan")).write(tmp_path / "nan")
    with pytest.raises(BundleError, match="not finite"):
        TableBounds.read(tmp_path / "nan", width, cells)

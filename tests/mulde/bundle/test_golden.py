"""A committed bundle of each format version opens, and answers what it always answered.

``format-1`` is ``toy_bundle(..., entities=12, relations=2, dimension=2, seed=7, name="golden")``.
``format-2`` is the same with ``loops=(1,), traits=2``: no entity answers its own query by P0.
``format-3`` is that of format 2 with the model's id in its files.
``index-sq8`` is format 2 with an index type that was removed; it opened until then.
``vocabulary-2.bin`` has front-coded names, as a bundle may have them since its second version.
Never write these files anew for a change of code: a change that needs it is a new format version.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.errors import BundleError
from serving.engine.engine import Engine

GOLDEN = Path(__file__).parents[2] / "golden"
FORMATS = sorted(GOLDEN.glob("format-*"))
ANSWERS = {
    "format-1": (
        [5, 0, 7, 10, 4, 8],
        [-0.0021546, -0.0788460, -0.2786140, -0.0158309, -0.0873619, -0.2505256],
    ),
    "format-2": (
        [5, 7, 2, 4, 10, 1],
        [-0.0021546, -0.2786140, -1.0573941, 0.9171593, 0.4012583, 0.3036740],
    ),
}
ANSWERS["format-3"] = ANSWERS["format-2"]


def test_there_is_a_bundle_of_each_format() -> None:
    assert [path.name for path in FORMATS] == ["format-1", "format-2", "format-3"]


@pytest.mark.parametrize("path", FORMATS, ids=lambda path: path.name)
def test_its_parts_say_what_they_always_said(path: Path) -> None:
    bundle = open_bundle(path)
    assert bundle.manifest.name == "golden"
    assert f"format-{bundle.manifest.format_version}" == path.name
    assert bundle.vocabulary.entities.row("Q0000007") == 7
    assert bundle.vocabulary.entities.row("thing 3") == 3
    assert bundle.vocabulary.entities.rows_of_label("twin").tolist() == [10, 11]
    assert bundle.known is not None
    assert bundle.known.of(2, 1).tolist() == [0, 11]
    assert len(bundle.known) == 62
    assert bundle.types is not None
    assert bundle.types.of("tail:P1").tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    assert bundle.search is not None
    assert bundle.search.find("thign 7", 3) == [7]
    assert bundle.calibration is None, "its probabilities had another meaning"


def test_names_of_both_versions_of_the_vocabulary_are_what_they_always_were() -> None:
    first, second = GOLDEN / "format-1" / "vocabulary.bin", GOLDEN / "vocabulary-2.bin"
    assert [path.read_bytes()[8] for path in (first, second)] == [1, 2]
    found = Vocabulary.read(second)
    assert found.entities.ids.shared is not None
    assert found.entities.labels.shared is not None
    called = ["zebra", "émile", "日本"]
    assert list(found.entities.ids) == [f"Q{n:07d}" for n in range(40)]
    labels = [f"thing called {called[n % 3]} {n // 6}" for n in range(40)]
    assert list(found.entities.labels) == labels
    assert found.entities.rows_of_label("thing called 日本 2").tolist() == [14, 17]
    assert found.relations.row("likes") == 0


@pytest.mark.parametrize("path", FORMATS, ids=lambda path: path.name)
def test_its_answers_are_what_they_always_were(path: Path) -> None:
    with Engine.open(path) as engine:
        answers = engine.predict([0, 5], [0, 3], 3, exclude_known=True)
    rows, expected = ANSWERS[path.name]
    assert answers.rows.tolist() == rows
    np.testing.assert_allclose(answers.totals, expected, atol=1e-6)


def test_a_bundle_with_a_removed_index_type_says_what_to_do() -> None:
    expected = r"expected one of int8, table, ivf; found 'sq8'.*: export the checkpoint again"
    with pytest.raises(BundleError, match=expected):
        open_bundle(GOLDEN / "index-sq8")

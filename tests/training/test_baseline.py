"""The popularity baseline by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mulde.graph.graph import read_folder
from tests.support.tiny import write_split
from training.evaluate import popularity


def test_popular_targets_of_the_relation_come_first(tmp_path: Path) -> None:
    train = [("a", "r", "x"), ("b", "r", "x"), ("c", "r", "y"), ("d", "s", "z")]
    write_split(tmp_path, "train", train)
    write_split(tmp_path, "valid", [("d", "r", "x")])
    write_split(tmp_path, "test", [("a", "r", "y")])
    figures = popularity(read_folder(tmp_path), "test")
    # (a, r, ?): x is known and left out, so y with its one use is first of the other six.
    assert figures["tail"]["mrr"] == 1.0
    # (?, r, y): c is known; a and b were heads once, so a takes the place 1.5.
    assert figures["head"]["mrr"] == pytest.approx(1 / 1.5)
    assert figures["total"]["mrr"] == pytest.approx((1 + 1 / 1.5) / 2)


def test_targets_that_the_relation_never_had_share_their_places(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [("a", "r", "b"), ("c", "s", "d")])
    write_split(tmp_path, "valid", [("c", "r", "b")])
    write_split(tmp_path, "test", [("a", "r", "d")])
    # (a, r, ?): b is known; a, c and d have 0 uses and share the places 1 to 3.
    assert popularity(read_folder(tmp_path), "test")["tail"]["mrr"] == pytest.approx(1 / 2)

"""Graphs of many shapes: a fit ends with a bundle that answers, whatever can be learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mulde.graph import read_graph
from mulde.graph.splitting.automatic import split_automatically
from serving.local.model import LocalModel
from tests.training.auto.conftest import Ticks
from training.auto.fit import fit

Facts = list[tuple[str, str, str]]


def _drawn(entities: int, relations: int, facts: int) -> Facts:
    rows = np.random.default_rng(0).integers(0, [entities, relations, entities], (facts, 3))
    return [(f"e{h}", f"r{r}", f"e{t}") for h, r, t in rows.tolist()]


def bipartite() -> Facts:
    """Users and items: no entity is both head and tail."""
    rows = np.random.default_rng(0).integers(0, [60, 40], (400, 2))
    return [(f"user {u}", "bought", f"item {i}") for u, i in rows.tolist()]


def tree() -> Facts:
    """One relation, and most entities have a single fact."""
    return [(f"n{(child - 1) // 5}", "parent of", f"n{child}") for child in range(1, 160)]


def star() -> Facts:
    """One entity is in all facts, and each other one in a single fact."""
    return [("hub", "has", f"leaf {n}") for n in range(60)]


def hubs() -> Facts:
    """Three entities are in most facts."""
    rows = np.random.default_rng(0).integers(0, [3, 4, 80], (300, 3))
    return [(f"hub {h}", f"r{r}", f"e{t}") for h, r, t in rows.tolist()]


def many_relations() -> Facts:
    """More relations than entities."""
    return _drawn(30, 150, 600)


def dense() -> Facts:
    """Five entities, and nearly all facts that there can be."""
    return _drawn(5, 3, 300)


def pairs_apart() -> Facts:
    """Each fact joins two entities that no other fact has."""
    return [(f"a{n}", f"r{n % 2}", f"b{n}") for n in range(40)]


def self_loops() -> Facts:
    """Most facts are self-loops."""
    loops = [(f"e{n}", "knows itself", f"e{n}") for n in range(40)]
    return [*loops, *_drawn(40, 2, 40)]


def few() -> Facts:
    """Six facts."""
    return [(f"e{n}", "next", f"e{(n + 1) % 6}") for n in range(6)]


SHAPES = (
    bipartite, tree, star, hubs, many_relations, dense, pairs_apart, self_loops, few,
)  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_graph_of_any_shape_becomes_a_bundle_that_answers(
    tmp_path: Path, ticks: Ticks, shape: Callable[[], Facts]
) -> None:
    facts = shape()
    told = split_automatically(read_graph(facts), tmp_path / "graph")
    assert told.startswith("held out: ")
    manifest, decisions = fit(
        tmp_path / "graph",
        tmp_path / "b",
        tmp_path / "run",
        name="shape",
        minutes=0.1,
        device=torch.device("cpu"),
        report=ticks.report,
        now=ticks,
    )
    assert decisions.chosen in ("junior", "baseline", "race")
    assert 0 < manifest.quality["test"]["total"]["mrr"] <= 1
    head, relation, _ = facts[0]
    answers = LocalModel(tmp_path / "b").predict_tails(head, relation, exclude_known=False)
    assert min(10, manifest.entities - 1) <= len(answers) <= 10
    assert np.isfinite(answers["score"]).all()

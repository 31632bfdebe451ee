"""How many threads a training takes, and in which type it multiplies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mulde.graph.graph import Graph
from tests.support.runs import CPU, recipe_of
from training.hardware import product_type, threads_for
from training.train import load_scorer, stages, train_stage


def test_a_small_graph_is_trained_with_one_thread_and_a_large_one_with_all() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with threads_for(100):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        with threads_for(100_000):
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_training_of_a_small_graph_takes_one_thread(graph: Graph, tmp_path: Path) -> None:
    recipe, before, seen = recipe_of(), torch.get_num_threads(), set[int]()
    try:
        torch.set_num_threads(2)
        *_, baseline = stages(recipe, tmp_path)
        train_stage(baseline, recipe, graph, CPU, lambda _, __: seen.add(torch.get_num_threads()))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {1}


def test_bfloat16_is_taken_where_the_processor_says_that_it_multiplies_it() -> None:
    information = Path("/proc/cpuinfo")
    flags = information.read_text(encoding="utf-8").split() if information.is_file() else []
    fast = "avx512_bf16" in flags or "amx_bf16" in flags
    assert product_type("bf16", CPU) == (torch.bfloat16 if fast else None)


@pytest.mark.parametrize(("precision", "device"), [("fp32", "cpu"), ("bf16", "meta")])
def test_fp32_stays_where_it_is_asked_for_or_bfloat16_is_not_known_to_be_fast(
    precision: str, device: str
) -> None:
    assert product_type(precision, torch.device(device)) is None


def test_a_training_with_bfloat16_products_learns_as_well(graph: Graph, tmp_path: Path) -> None:
    """The same where the processor has none; else weights that differ by little."""
    found = []
    for precision in ("fp32", "bf16"):
        changes = {
            "junior": {"scorer": "ComplEx", "dimension": 8, "score": "bilinear", "spread": 0.1},
            "junior_training": {"epochs": 3, "loss": "cross-entropy", "precision": precision},
        }
        recipe = recipe_of(**changes)
        *_, baseline = stages(recipe, tmp_path / precision)
        path = train_stage(baseline, recipe, graph, CPU)
        scorer, facts = load_scorer(path, graph)
        assert facts["identity"]["training"].get("precision", "fp32") == precision
        found.append(scorer.spatial().detach())
    torch.testing.assert_close(*found, rtol=0.05, atol=0.01)

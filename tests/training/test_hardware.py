"""How many threads a training takes."""

from __future__ import annotations

from pathlib import Path

import torch

from mulde.graph.graph import Graph
from tests.support.runs import CPU, recipe_of
from training.hardware import threads_for
from training.train import stages, train_stage


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

"""One tiny graph for all tests of training, and one thread, so that sums have one order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mulde.graph.graph import Graph, read_folder
from tests.support.runs import CPU, recipe_of
from tests.support.tiny import write_tiny_graph
from training.train import stages, train_stage


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def graph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny graph on disk."""
    return write_tiny_graph(tmp_path_factory.mktemp("graphs") / "tiny")


@pytest.fixture(scope="session")
def graph(graph_folder: Path) -> Graph:
    """The tiny graph: 31 entities, 4 relations, 79 training triples."""
    return read_folder(graph_folder)


@pytest.fixture(scope="session")
def teacher_runs(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny recipe's two trained teachers."""
    recipe, folder = recipe_of(), tmp_path_factory.mktemp("teachers")
    for stage in stages(recipe, folder, folder):
        if stage.name.startswith("teacher"):
            train_stage(stage, recipe, graph, CPU)
    return folder

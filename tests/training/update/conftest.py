"""A trained and exported model of the tiny graph, and facts that came later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from mulde.graph.graph import Graph, read_folder
from mulde.graph.reading.read import read_graph
from tests.support.runs import recipe_of, train
from tests.support.tiny import write_tiny_graph
from training.export.export import export
from training.recipe_file import to_toml
from training.update.update import GraphChanges

NEW = [
    ("fresh", "next", "e03"),
    ("fresh", "skip", "e04"),
    ("e09", "beside", "fresh"),
    ("e02", "beside", "e04"),
]


@dataclass(frozen=True)
class Model:
    """A graph's folder, the run of its model, and its bundle."""

    data: Path
    run: Path
    bundle: Path

    @property
    def checkpoint(self) -> Path:
        return self.run / "junior" / "best.pt"

    @property
    def graph(self) -> Graph:
        return read_folder(self.data)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Version 1 of a model of the tiny graph, with its two teachers."""
    folder = tmp_path_factory.mktemp("model")
    found = Model(write_tiny_graph(folder / "tiny"), folder / "run", folder / "bundle")
    recipe = recipe_of()
    for name in ("teacher 1 RotH", "teacher 2 TransH", "junior"):
        train(recipe, found.graph, found.run, name)
    (found.run / "recipe.toml").write_text(to_toml(recipe))
    export(found.checkpoint, found.data, found.bundle, name="tiny")
    return found


@pytest.fixture
def changes(model: Model) -> GraphChanges:
    """A new entity, a new relation, and one train fact fewer."""
    graph = model.graph
    head, relation, tail = graph.train[0].tolist()
    ids = graph.entity_ids
    gone = [(ids[head], graph.relation_ids[relation], ids[tail])]
    return GraphChanges(read_graph(NEW), read_graph(gone))

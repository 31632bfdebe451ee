"""Names through the real port: what was typed wrongly is found, and the index stays on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic_labels import labels, spoilt
from mulde.bundle.bundle import open_bundle
from mulde.bundle.entities.entity_types import EntityTypes
from mulde.bundle.entities.label_search import SearchIndex
from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.bundle.files import SEARCH, TYPES, VOCABULARY
from mulde.client import Client
from tests.serving.resealing import reseal
from tests.support.server import ServerProcess, server
from tests.support.toy import toy_bundle

E, R = 20_000, 3
PERSONS = np.arange(0, E, 2)


@pytest.fixture(scope="module")
def named() -> list[str]:
    return labels(E, seed=1)


@pytest.fixture(scope="module")
def process(named: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of a bundle with labels like names, and a type that is none of the graph's."""
    folder = tmp_path_factory.mktemp("named")
    toy = toy_bundle(folder / "toy", entities=E, relations=R)
    relations = [f"P{row}" for row in range(R)]
    ids = [f"Q{row:07d}" for row in range(E)]
    vocabulary = Vocabulary.build(ids, named, relations, relations)
    types = EntityTypes.of_graph(toy.triples, relations, E, {"person": PERSONS})
    for name in (VOCABULARY, SEARCH, TYPES):
        (toy.path / name).unlink()
    vocabulary.write(toy.path / VOCABULARY)
    SearchIndex.build(vocabulary.entities.labels).write(toy.path / SEARCH)
    types.write(toy.path / TYPES)
    reseal(toy.path)
    open_bundle(toy.path)
    with server(toy.path, log=folder / "log") as running:
        yield running


@pytest.fixture
def client(process: ServerProcess) -> Iterator[Client]:
    with Client(process.address) as connected:
        yield connected


def test_seeded_typos_find_their_label_in_the_first_five(client: Client, named: list[str]) -> None:
    generator = np.random.default_rng(3)
    wanted = [named[row] for row in generator.integers(E, size=1000)]
    typed = [spoilt(label, generator) for label in wanted]
    found = client.search(typed, page_size=5)
    hits = [label in [one for _, one in found[place]] for place, label in enumerate(wanted)]
    assert np.mean(hits) >= 0.95


def test_beginnings_find_labels_that_begin_so(client: Client, named: list[str]) -> None:
    for label in named[:50]:
        begun = [one for _, one in client.search(label[:4], page_size=10)[0]]
        assert any(one.lower().startswith(label[:4].lower()) for one in begun)


def test_a_label_stands_for_its_entity_in_a_prediction(client: Client, named: list[str]) -> None:
    by_label = client.predict_tails(named[:300], "P0", k=3)
    by_id = client.predict_tails([f"Q{row:07d}" for row in range(300)], "P0", k=3)
    assert not by_label.errors
    assert by_label.rows.tolist() == by_id.rows.tolist()


def test_the_index_of_names_is_mapped_and_not_read_in(
    process: ServerProcess, client: Client
) -> None:
    client.search("the", page_size=5)
    maps = Path(f"/proc/{process.process.pid}/maps").read_text("utf-8")
    for name in (SEARCH, VOCABULARY):
        (line,) = {line.split()[1] for line in maps.splitlines() if line.endswith(f"/{name}")}
        assert line.startswith("r--")  # read alone: its pages are the file's


def test_types_of_a_file_bound_the_candidates(client: Client) -> None:
    assert list(client.model().model.types) == ["person"]
    answers = client.predict_tails(["Q0000001", "Q0000002"], "P0", types="person", k=500)
    assert len(answers.rows) == 1000
    assert np.isin(answers.rows, PERSONS).all()
    both = client.predict_tails("Q0000001", "P0", types=["person", "tail:P0"], k=20)
    assert len(both.rows) == 20

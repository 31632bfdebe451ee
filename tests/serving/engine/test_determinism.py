"""An answer is the same whatever is asked beside it, in any order and on any number of threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from mulde.bundle.bundle import open_bundle
from serving.engine.engine import Engine
from tests.support.toy import toy_bundle

E, R, K, QUERIES = 300, 4, 7, 200


@pytest.fixture(params=["linear", "distance"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind = request.param
    return toy_bundle(tmp_path / "toy", entities=E, relations=R, kind=kind).path


def answers(engine: Engine, entities: Any, relations: Any) -> list[tuple[list[int], list[float]]]:
    """Rows and scores of each query."""
    found = engine.predict(entities, relations, K, exclude_known=True)
    bounds = list(zip(found.offsets[:-1], found.offsets[1:], strict=True))
    return [(found.rows[a:b].tolist(), found.scores[a:b].tolist()) for a, b in bounds]


@pytest.fixture
def asked() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(E, size=QUERIES), random.integers(2 * R, size=QUERIES)


def test_the_number_of_threads_changes_no_bit(bundle: Path, asked: Any) -> None:
    one, two = (Engine(open_bundle(bundle), threads=count) for count in (1, 2))
    assert answers(one, *asked) == answers(two, *asked)


def test_faiss_uses_the_threads_of_the_engine_whichever_thread_calls(bundle: Path) -> None:
    """OpenMP keeps the number for each calling thread, and a new one takes that of the machine."""
    engine, used = Engine(open_bundle(bundle), threads=1, low_memory=True), list[int]()

    def ask() -> None:
        faiss.omp_set_num_threads(3)
        engine.predict([0], [0], K)
        used.append(faiss.omp_get_max_threads())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(30)
    assert used == [1]


def test_order_and_company_change_no_bit(bundle: Path, asked: Any) -> None:
    engine = Engine(open_bundle(bundle))
    entities, relations = asked
    together = answers(engine, entities, relations)
    order = np.random.default_rng(1).permutation(QUERIES)
    shuffled = answers(engine, entities[order], relations[order])
    assert [together[place] for place in order] == shuffled
    for size in (1, 2, 33):
        parts = [slice(start, start + size) for start in range(0, QUERIES, size)]
        apart = [one for part in parts for one in answers(engine, entities[part], relations[part])]
        assert apart == together

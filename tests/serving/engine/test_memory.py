"""Every call of the engine takes little memory besides its results, whatever it asks."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from serving.engine.engine import Engine
from tests.support.toy import toy_bundle

E, R, B = 20_000, 200, 1024
MOST_BYTES = 40 << 20


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("memory") / "toy"
    toy = toy_bundle(folder, entities=E, relations=R, dimension=32)
    with Engine.open(toy.path) as opened:
        yield opened


RANDOM = np.random.default_rng(0)
ROWS, OTHERS = RANDOM.integers(E, size=(2, B))
RELATIONS = RANDOM.integers(2 * R, size=B)
FRUGAL = {"predict, half denied", "similar, half denied"}
"""Calls that are also made of the mapped table alone."""
HALF = np.arange(0, E, 2)
CALLS: dict[str, Callable[[Engine], object]] = {
    "relations": lambda e: e.relations(ROWS, OTHERS, 10),
    "predict": lambda e: e.predict(ROWS, RELATIONS, 1000, exclude_known=True),
    "predict, half allowed": lambda e: e.predict(ROWS[:64], RELATIONS[:64], 10, allow=HALF),
    "predict, half denied": lambda e: e.predict(ROWS[:64], RELATIONS[:64], 10, deny=HALF),
    "similar, half denied": lambda e: e.similar(ROWS[:64], 10, deny=HALF),
    "predict, all answers": lambda e: e.predict(ROWS[:16], RELATIONS[:16], E),
    "similar": lambda e: e.similar(ROWS, 1000),
    "ranks": lambda e: e.ranks(ROWS[:64], RELATIONS[:64], OTHERS[:64]),
    "score": lambda e: e.triple_scores(ROWS, RELATIONS % R, OTHERS),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_little_memory(engine: Engine, name: str) -> None:
    CALLS[name](engine)  # buffers that stay are made by the first call
    tracemalloc.start()
    kept = CALLS[name](engine)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept is not None
    assert peak - held < MOST_BYTES


@pytest.mark.parametrize("name", sorted(FRUGAL))
def test_a_long_deny_list_takes_little_memory_without_a_copy_of_the_table(
    engine: Engine, name: str
) -> None:
    frugal = Engine(engine.bundle, low_memory=True)
    tracemalloc.start()
    CALLS[name](frugal)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_BYTES // 4


class CallerHasGoneError(Exception):
    """Raised by the check of a call."""


@pytest.mark.parametrize("name", ["relations", "predict", "similar", "ranks"])
def test_every_call_ends_when_its_check_says_so(engine: Engine, name: str) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise CallerHasGoneError

    run: dict[str, Callable[[], object]] = {
        "relations": lambda: engine.relations(ROWS, OTHERS, 10, check=check),
        "predict": lambda: engine.predict(ROWS, RELATIONS, 1000, check=check),
        "similar": lambda: engine.similar(ROWS, 1000, check=check),
        "ranks": lambda: engine.ranks(ROWS, RELATIONS, OTHERS, check=check),
    }
    with pytest.raises(CallerHasGoneError):
        run[name]()
    assert calls == 3

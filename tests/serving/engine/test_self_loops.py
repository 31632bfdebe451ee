"""An entity is no answer to its own query, in relations that do not loop."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mulde.evaluation.self_loops import LOOP
from serving.engine.engine import Engine
from tests.support.toy import Kind, toy_bundle

E, R, LOOPING = 40, 3, 1
ENTITIES = np.tile(np.arange(E), 2 * R)
RELATIONS = np.repeat(np.arange(2 * R), E)
LEFT_OUT = RELATIONS % R != LOOPING


@pytest.fixture(scope="module", params=["linear", "distance"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Engine]]:
    """The same model with all loops, and with those of one relation."""
    kind: Kind = request.param
    folder: Path = tmp_path_factory.mktemp("loops")
    toy = partial(toy_bundle, entities=E, relations=R, kind=kind)
    free, bound = toy(folder / "free"), toy(folder / "bound", loops=(LOOPING,))
    with Engine.open(free.path) as one, Engine.open(bound.path) as other:
        yield one, other


def test_every_score_of_a_loop_is_lowered_and_no_other(both: tuple[Engine, Engine]) -> None:
    free, bound = (engine.scores(ENTITIES, RELATIONS) for engine in both)
    expected = free.copy()
    expected[LEFT_OUT, ENTITIES[LEFT_OUT]] -= np.float32(LOOP)
    np.testing.assert_array_equal(bound, expected)


def test_the_score_of_a_triple_is_the_scorers_and_a_self_loop_is_flagged(
    both: tuple[Engine, Engine],
) -> None:
    free, bound = both
    every = free.scores(ENTITIES, RELATIONS)
    for tails in (ENTITIES, (ENTITIES + 1) % E):
        scores = bound.score(ENTITIES, RELATIONS, tails)
        assert scores.tolist() == every[np.arange(len(tails)), tails].tolist()
    assert bound.self_loops(ENTITIES, RELATIONS, ENTITIES).tolist() == LEFT_OUT.tolist()
    assert not bound.self_loops(ENTITIES, RELATIONS, (ENTITIES + 1) % E).any()


def test_results_say_whose_own_entity_was_excluded(both: tuple[Engine, Engine]) -> None:
    for engine, expected in zip(both, (LEFT_OUT & False, LEFT_OUT), strict=True):
        flags = engine.predict(ENTITIES, RELATIONS, 3).self_loop_excluded
        assert flags is not None
        assert flags.tolist() == expected.tolist()


def test_a_relation_without_self_loops_is_none_between_an_entity_and_itself(
    both: tuple[Engine, Engine],
) -> None:
    _, engine = both
    results = engine.relations([4, 4], [4, 5], R)
    assert results.rows[results.owners == 0].tolist() == [LOOPING]
    assert results.counts.tolist() == [1, R]
    assert results.self_loop_excluded is not None
    assert results.self_loop_excluded.tolist() == [True, False]


@pytest.mark.parametrize("exclude_known", [True, False])
def test_answers_are_those_of_the_free_model_without_the_entity_itself(
    both: tuple[Engine, Engine], *, exclude_known: bool
) -> None:
    free, bound = (
        engine.predict(ENTITIES, RELATIONS, E, exclude_known=exclude_known) for engine in both
    )
    own = (free.rows == ENTITIES[free.owners]) & LEFT_OUT[free.owners]
    assert own.sum() > E
    assert bound.owners.tolist() == free.owners[~own].tolist()
    assert bound.rows.tolist() == free.rows[~own].tolist()
    assert bound.exact.all()


@pytest.mark.parametrize("options", [{}, {"exclude_known": True}, {"deny": [3, 8]}])
def test_a_lone_query_gets_what_it_gets_in_a_batch(
    both: tuple[Engine, Engine], options: dict[str, object]
) -> None:
    _, engine = both
    batch = engine.predict(ENTITIES, RELATIONS, 5, **options)  # type: ignore[arg-type]
    for query in range(0, len(ENTITIES), 7):
        lone = engine.predict(ENTITIES[query], RELATIONS[query], 5, **options)  # type: ignore[arg-type]
        assert lone.rows.tolist() == batch.rows[batch.owners == query].tolist()


def test_only_the_entity_itself_allowed_is_no_answer(both: tuple[Engine, Engine]) -> None:
    _, engine = both
    answers = engine.predict([4, 4], [0, LOOPING], 3, allow=[4])
    assert (answers.owners.tolist(), answers.rows.tolist()) == ([1], [4])


def test_the_entity_itself_outranks_nobody_and_as_a_target_comes_last(
    both: tuple[Engine, Engine],
) -> None:
    nothing = np.zeros(len(ENTITIES) + 1, np.int64), np.zeros(0, np.int64)
    targets = (ENTITIES + 1) % E
    free, bound = (engine.ranks(ENTITIES, RELATIONS, targets, nothing) for engine in both)
    scores = both[0].scores(ENTITIES, RELATIONS)
    rows = np.arange(len(targets))
    beaten = LEFT_OUT & (scores[rows, ENTITIES] > scores[rows, targets])
    assert beaten.any()
    np.testing.assert_array_equal(bound, free - beaten)
    own = both[1].ranks(ENTITIES, RELATIONS, ENTITIES, nothing)
    assert (own[LEFT_OUT] == E).all()
    assert (own[~LEFT_OUT] < E).any()

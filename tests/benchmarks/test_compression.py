"""What benchmarks/compressions.py measures of a compressed model is what its index searches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.compressions import (
    COMPONENTS,
    Stored,
    compressions,
    entities_of,
    microseconds,
    principal,
    queries_of,
    whole,
)
from training.scorers import BilinearScorer, ComplEx, Scorer, build_scorer

ENTITIES, RELATIONS, DIMENSION = 300, 3, 100


def complex_model(seed: int = 1) -> ComplEx:
    generator = torch.Generator().manual_seed(seed)
    return ComplEx(ENTITIES, RELATIONS, DIMENSION, spread=0.5, generator=generator)


@torch.no_grad()
def answers(scorer: Scorer, count: int = 50) -> np.ndarray:
    """Scores [count, E] of the queries that ``queries_of`` draws."""
    draw = np.random.default_rng(1)
    rows = torch.from_numpy(draw.integers(scorer.num_entities, size=1024))[:count]
    relation = torch.from_numpy(draw.integers(2 * scorer.num_relations, size=1024))[:count]
    return np.asarray(scorer.score_shared(scorer.query(rows, relation)).numpy())


@pytest.fixture(scope="module")
def forms() -> dict[str, Stored]:
    """A model as it is and in each of its compressed forms, by title."""
    scorer = complex_model()
    before = scorer.entity.detach().clone()
    made = [whole(scorer), *compressions(scorer)]
    assert torch.equal(scorer.entity, before), "the model itself stays as it is"
    return {stored.title: stored for stored in made}


def test_each_index_ranks_as_the_scorer_that_is_evaluated(forms: dict[str, Stored]) -> None:
    for stored in forms.values():
        scores = answers(stored.scorer)
        found, rows = stored.index.search(stored.queries[: len(scores)], ENTITIES)
        same = np.take_along_axis(scores, rows, 1)
        # PCA leaves out the product with the mean, which all candidates share.
        shift = np.median(same - found, axis=1, keepdims=True)
        np.testing.assert_allclose(found + shift, same, atol=2e-3, err_msg=stored.title)


def test_fewer_bytes_are_worse(forms: dict[str, Stored]) -> None:
    exact = answers(forms["fp32"].scorer)
    error = {title: float(np.abs(answers(s.scorer) - exact).mean()) for title, s in forms.items()}
    assert 0 == error["fp32"] < error["int8"] < error["PQ of 20 bytes"]
    assert error["PQ of 100 bytes"] < error["PQ of 20 bytes"]
    sizes = [stored.bytes_per_entity for stored in forms.values()]
    assert sizes == [4 * DIMENSION, DIMENSION, 100, 20, 4 * COMPONENTS]


def test_principal_components_lose_nothing_of_what_lies_in_them() -> None:
    scorer = complex_model()
    with torch.no_grad():
        scorer.entity[:, COMPONENTS:] = 0.5
    found = principal(scorer)
    np.testing.assert_allclose(answers(found.scorer), answers(scorer), atol=1e-3)


def test_a_hyperbolic_model_is_searched_by_points_and_excess() -> None:
    scorer = build_scorer(
        "RotH", entities=40, relations=2, dimension=8, score="linear", spread=0.3, seed=1
    )
    assert not isinstance(scorer, BilinearScorer)
    assert entities_of(scorer).shape == queries_of(scorer, 40).shape == (40, 9)
    stored = replace(whole(scorer), queries=queries_of(scorer, 8))
    assert microseconds(stored, 4, rounds=1) > 0
    with torch.no_grad():
        draw = np.random.default_rng(1)
        rows = torch.from_numpy(draw.integers(40, size=8))
        relation = torch.from_numpy(draw.integers(4, size=8))
        scores = scorer.score_shared(scorer.query(rows, relation)) / scorer.scale(relation)[:, None]
    found, places = stored.index.search(stored.queries, 40)
    same = np.take_along_axis(scores.numpy(), places, 1)
    np.testing.assert_allclose(found - found[:, :1], same - same[:, :1], rtol=1e-5, atol=1e-3)

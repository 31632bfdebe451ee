"""The encoder: the product is the score, ONNX is torch, and slopes fit the answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from mulde.evaluation import RankingTask
from mulde.known import KnownFacts
from mulde.layout import Layout
from training.encoder import Encoder, choose_slopes, write_onnx
from training.scorers import HYPERBOLIC, HyperbolicScorer, ScoreKind, ScorerName, build_scorer

ENTITIES, RELATIONS, DIMENSION = 40, 3, 8
LAYOUT = Layout(DIMENSION)


def make(name: ScorerName, score: ScoreKind) -> HyperbolicScorer:
    scorer = build_scorer(
        name,
        entities=ENTITIES,
        relations=RELATIONS,
        dimension=DIMENSION,
        score=score,
        spread=0.3,
        seed=0,
    )
    assert isinstance(scorer, HyperbolicScorer)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        scorer.tail_bias.copy_(torch.randn(ENTITIES, generator=generator))
        scorer.head_bias.copy_(torch.randn(ENTITIES, generator=generator))
    return scorer


def table_of(scorer: HyperbolicScorer) -> Tensor:
    with torch.no_grad():
        parts = [p.double().numpy() for p in (scorer.spatial(), scorer.tail_bias, scorer.head_bias)]
    return torch.from_numpy(LAYOUT.pack(parts[0], parts[1], parts[2], "fp32"))


def valid_task(per_relation: int = 5) -> RankingTask:
    generator = np.random.default_rng(0)
    relation = np.repeat(np.arange(2 * RELATIONS), per_relation)
    entity, target = generator.integers(0, ENTITIES, size=(2, len(relation)))
    return RankingTask(
        entity, relation, target, KnownFacts.build(np.zeros((0, 3)), ENTITIES, RELATIONS)
    )


@torch.inference_mode()
def test_the_product_with_the_table_is_the_bilinear_score() -> None:
    size = {"entities": ENTITIES, "relations": RELATIONS, "dimension": DIMENSION}
    scorer = build_scorer("ComplEx", **size, score="bilinear", spread=0.3, seed=0)
    parts = [p.double().numpy() for p in (scorer.spatial(), scorer.tail_bias, scorer.head_bias)]
    table = torch.from_numpy(LAYOUT.pack(parts[0], parts[1], parts[2], "fp32"))
    entity, relation = torch.arange(ENTITIES), torch.arange(ENTITIES) % (2 * RELATIONS)
    encoder = Encoder(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
    query, offset, bias, slope = encoder(table[entity], relation)
    found = query @ table.T + (offset + bias)[:, None]
    torch.testing.assert_close(found, scorer.score_shared(scorer.query(entity, relation)))
    assert (slope == 1).all()


@pytest.mark.parametrize("name", list(HYPERBOLIC))
@torch.inference_mode()
def test_the_product_with_the_table_is_the_linear_score(name: ScorerName) -> None:
    scorer = make(name, "linear")
    table = table_of(scorer)
    encoder = Encoder(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
    entity = torch.arange(20)
    relation = torch.arange(20) % (2 * RELATIONS)
    query, offset, bias, _ = encoder(table[entity], relation)
    found = query @ table.T + (offset + bias)[:, None]
    expected = scorer.score_shared(scorer.query(entity, relation))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


@torch.inference_mode()
def test_a_distance_score_follows_from_the_product() -> None:
    scorer = make("RotH", "distance")
    table, curvature = table_of(scorer), scorer.curvature()
    encoder = Encoder(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
    entity, relation = torch.arange(6), torch.arange(6)
    query, offset, bias, slope = encoder(table[entity], relation)
    product = query @ table.T + offset[:, None]
    u = (scorer.tail_bias - product) / slope[:, None]
    found = scorer.tail_bias + bias[:, None] - torch.acosh(1 + u) ** 2 / curvature
    expected = scorer.score_shared(scorer.query(entity, relation))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", list(HYPERBOLIC))
@pytest.mark.parametrize("batch", [1, 2, 17])
@torch.inference_mode()
def test_onnx_is_torch_for_any_batch(name: ScorerName, batch: int, tmp_path: Path) -> None:
    scorer = make(name, "linear")
    encoder = Encoder(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
    write_onnx(encoder, tmp_path / "encoder.onnx")
    session = ort.InferenceSession(str(tmp_path / "encoder.onnx"))
    head, relation = table_of(scorer)[:batch], torch.arange(batch) % (2 * RELATIONS)
    found = session.run(None, {"head": head.numpy(), "relation": relation.numpy()})
    for got, wanted in zip(found, encoder(head, relation), strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), atol=2e-5, rtol=1e-5)


def test_a_linear_scores_slope_is_its_own_scale() -> None:
    scorer = make("RotH", "linear")
    slopes = choose_slopes(scorer, valid_task())
    torch.testing.assert_close(slopes, scorer.scale(torch.arange(2 * RELATIONS)))


@torch.inference_mode()
def test_a_distance_scores_slope_is_the_tangents_at_the_tenth_answer() -> None:
    scorer = make("RotH", "distance")
    task = valid_task(per_relation=1)
    slopes = choose_slopes(scorer, task)
    query = scorer.query(torch.from_numpy(task.entity), torch.from_numpy(task.relation))
    value, row = scorer.score_shared(query).sort(dim=1, descending=True)
    penalty = query.bias + scorer.tail_bias[row[:, 9]] - value[:, 9]
    curvature = scorer.curvature()
    distance = torch.sqrt(penalty * curvature).double()
    u = (torch.cosh(distance) - 1).requires_grad_(False)
    step = 1e-4 * u
    rise = torch.acosh(1 + u + step) ** 2 - torch.acosh(1 + u - step) ** 2
    torch.testing.assert_close(slopes.double(), rise / (2 * step) / curvature, rtol=1e-3, atol=0)


def test_a_relation_without_valid_queries_takes_the_common_slope() -> None:
    scorer = make("RotH", "distance")
    task = valid_task()
    only = RankingTask(*(a[:5] for a in (task.entity, task.relation, task.target)), task.known)
    slopes = choose_slopes(scorer, only)
    torch.testing.assert_close(slopes, slopes[:1].expand(2 * RELATIONS))

"""The encoder: the product is the score, ONNX is torch, and slopes fit the answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.table.entity_table import Layout
from mulde.evaluation.metrics import RankingTask
from training.export.encoder.folded_encoder import moves_of
from training.export.encoder.onnx_encoder import EncoderGraph, choose_slopes, write_onnx
from training.scorers import HYPERBOLIC, HyperbolicScorer, ScoreKind, ScorerName, build_scorer
from training.scorers.rescal import RESCAL
from training.scorers.roth import RefH, RotH
from training.scorers.transh import TransH

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
        entity, relation, target, KnownFacts.build(np.zeros((0, 3), np.int32), ENTITIES, RELATIONS)
    )


SIZED = partial(build_scorer, entities=ENTITIES, relations=RELATIONS, dimension=DIMENSION)


@torch.inference_mode()
def test_the_product_with_the_table_is_the_bilinear_score() -> None:
    scorer = SIZED("ComplEx", score="bilinear", spread=0.3, seed=0)
    parts = [p.double().numpy() for p in (scorer.spatial(), scorer.tail_bias, scorer.head_bias)]
    table = torch.from_numpy(LAYOUT.pack(parts[0], parts[1], parts[2], "fp32"))
    entity, relation = torch.arange(ENTITIES), torch.arange(ENTITIES) % (2 * RELATIONS)
    encoder = EncoderGraph(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
    query, offset, bias, slope = encoder(table[entity], relation)
    found = query @ table.T + (offset + bias)[:, None]
    torch.testing.assert_close(found, scorer.score_shared(scorer.query(entity, relation)))
    assert (slope == 1).all()


@pytest.mark.parametrize("name", list(HYPERBOLIC))
@torch.inference_mode()
def test_the_product_with_the_table_is_the_linear_score(name: ScorerName) -> None:
    scorer = make(name, "linear")
    table = table_of(scorer)
    encoder = EncoderGraph(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
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
    encoder = EncoderGraph(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
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
    encoder = EncoderGraph(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
    write_onnx(encoder, tmp_path / "encoder.onnx")
    session = ort.InferenceSession(str(tmp_path / "encoder.onnx"))
    head, relation = table_of(scorer)[:batch], torch.arange(batch) % (2 * RELATIONS)
    found = session.run(None, {"head": head.numpy(), "relation": relation.numpy()})
    for got, wanted in zip(found, encoder(head, relation), strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "most"), [("RotH", 39), ("RefH", 28), ("TransH", 24)])
def test_a_query_costs_few_operators(name: ScorerName, most: int, tmp_path: Path) -> None:
    scorer = make(name, "linear")
    write_onnx(
        EncoderGraph(scorer, LAYOUT, choose_slopes(scorer, valid_task())), tmp_path / "e.onnx"
    )
    assert len(onnx.load(tmp_path / "e.onnx").graph.node) <= most


@pytest.mark.parametrize("kind", ["linear", "distance"])
@pytest.mark.parametrize("name", ["RotH", "RefH", "TransH"])
@torch.inference_mode()
def test_a_served_query_is_that_of_double_precision_far_out_and_near_the_origin(
    name: ScorerName, kind: ScoreKind, tmp_path: Path
) -> None:
    """Points at radii from 1e-3 to 7, where a short cut that cancels would show."""
    scorer = make(name, kind)
    assert isinstance(scorer, TransH | RotH | RefH)
    radii = torch.logspace(-3, np.log10(3.5), ENTITIES)
    unit = torch.nn.functional.normalize(scorer.entity.detach(), dim=-1)
    scorer.entity.copy_(unit * radii.unsqueeze(-1) / scorer.curvature().sqrt())
    scorer.translation.mul_(4)
    encoder = EncoderGraph(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
    write_onnx(encoder, tmp_path / "encoder.onnx")
    session = ort.InferenceSession(str(tmp_path / "encoder.onnx"))
    head = table_of(scorer)
    relation = torch.arange(ENTITIES) % (2 * RELATIONS)
    found = session.run(None, {"head": head.numpy(), "relation": relation.numpy()})
    exact = [part.numpy() for part in encoder.double()(head.double(), relation)]
    size = np.abs(exact[0]).max(axis=1)
    for got, wanted in zip(found, exact, strict=True):
        error = np.abs(got - wanted).reshape(len(size), -1).max(axis=1) / size
        assert error.max() < 2e-5


@pytest.mark.parametrize("batch", [1, 17])
@torch.inference_mode()
def test_a_map_is_served_as_it_is_trained(batch: int, tmp_path: Path) -> None:
    scorer = SIZED("RESCAL", score="bilinear", spread=0.3, seed=0)
    assert isinstance(scorer, RESCAL)
    scorer.translation.normal_(generator=torch.Generator().manual_seed(2))
    scorer.round_matrices()
    encoder = EncoderGraph(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
    write_onnx(encoder, tmp_path / "encoder.onnx")
    assert len(onnx.load(tmp_path / "encoder.onnx").graph.node) <= 15
    session = ort.InferenceSession(str(tmp_path / "encoder.onnx"))
    parts = [p.double().numpy() for p in (scorer.spatial(), scorer.tail_bias, scorer.head_bias)]
    head = torch.from_numpy(LAYOUT.pack(parts[0], parts[1], parts[2], "fp32"))[:batch]
    relation = torch.arange(batch) % (2 * RELATIONS)
    found = session.run(None, {"head": head.numpy(), "relation": relation.numpy()})
    for got, wanted in zip(found, encoder(head, relation), strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), atol=2e-5, rtol=1e-5)


def test_equal_encoders_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        scorer = make("RotH", "linear")
        write_onnx(
            EncoderGraph(scorer, LAYOUT, choose_slopes(scorer, valid_task())), tmp_path / name
        )
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_block_of_zeros_is_refused() -> None:
    scorer = make("RotH", "linear").requires_grad_(False)
    assert isinstance(scorer, RotH)
    scorer.rotation[2, :2] = 0
    with pytest.raises(ValueError, match="found zeros"):
        moves_of(scorer)


@torch.inference_mode()
def test_a_relation_that_moves_nothing_is_served(tmp_path: Path) -> None:
    scorer = make("RotH", "linear")
    assert isinstance(scorer, RotH)
    scorer.translation[1] = scorer.before[1] = 0
    encoder = EncoderGraph(scorer, LAYOUT, choose_slopes(scorer, valid_task()))
    write_onnx(encoder, tmp_path / "encoder.onnx")
    session = ort.InferenceSession(str(tmp_path / "encoder.onnx"))
    head, relation = table_of(scorer)[:3], torch.ones(3, dtype=torch.int64)
    query = session.run(["query"], {"head": head.numpy(), "relation": relation.numpy()})[0]
    np.testing.assert_allclose(query, encoder(head, relation)[0].numpy(), atol=2e-5, rtol=1e-5)


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
    only = RankingTask(task.entity[:5], task.relation[:5], task.target[:5], task.known)
    slopes = choose_slopes(scorer, only)
    torch.testing.assert_close(slopes, slopes[:1].expand(2 * RELATIONS))

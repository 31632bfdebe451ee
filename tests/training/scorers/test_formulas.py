"""Scores and penalties are those of the formulas, computed in another way."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.training.scorers.small_scorers import DIMENSION, build, hyperbolic_scorer, queries
from training.ops import hyperbolic
from training.scorers import HYPERBOLIC, Scorer, ScorerName
from training.scorers.bilinear import BilinearScorer


def exp0(tangent: Tensor, c: float) -> Tensor:
    norm = tangent.norm(dim=-1, keepdim=True)
    scaled: Tensor = torch.tanh(c**0.5 * norm) * tangent / (c**0.5 * norm)
    return scaled


def mobius(x: Tensor, y: Tensor, c: float) -> Tensor:
    xy, xx, yy = (x * y).sum(-1, True), (x * x).sum(-1, True), (y * y).sum(-1, True)
    top: Tensor = (1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y
    bottom: Tensor = 1 + 2 * c * xy + c * c * xx * yy
    return top / bottom


def ball_distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    norm: Tensor = mobius(-x, y, c).norm(dim=-1)
    return torch.mul(torch.atanh(c**0.5 * norm), 2 / c**0.5)


def givens(blocks: Tensor, x: Tensor, reflection: bool) -> Tensor:
    """Block by block: Rot (a x1 - b x2, a x2 + b x1), Ref (a x1 + b x2, -a x2 + b x1)."""
    sign = -1.0 if reflection else 1.0
    out = torch.empty_like(x)
    for left in range(0, x.shape[-1], 2):
        pair = blocks[..., left : left + 2]
        a, b = (pair / pair.norm(dim=-1, keepdim=True)).unbind(-1)
        first, second = x[..., left], x[..., left + 1]
        out[..., left] = a * first - sign * b * second
        out[..., left + 1] = sign * a * second + b * first
    return out


def expected_query(scorer: Scorer, entity: Tensor, relation: Tensor, c: float) -> Tensor:
    """The query point in the ball, by the table of docs/explanation/method.md."""
    values = {name: value.detach() for name, value in scorer.named_parameters()}
    head, kind = exp0(values["entity"][entity], c), type(scorer).__name__
    if kind == "DistH":
        return head * exp0(values["diagonal"][relation], c)  # projection: see below
    step = exp0(values["translation"][relation], c)
    if kind == "TransH":
        return mobius(head, step, c)
    blocks = values["rotation"][relation]
    if kind == "RefH":
        return mobius(givens(blocks, head, reflection=True), step, c)
    before = exp0(values["before"][relation], c)
    return mobius(givens(blocks, mobius(head, before, c), reflection=False), step, c)


@pytest.mark.parametrize("raw_curvature", [-1.0, 1.0, 3.0])
@pytest.mark.parametrize("name", ["RotH", "RefH", "DistH", "TransH"])
def test_distance_scores_are_those_of_the_balls_formulas(
    name: ScorerName, raw_curvature: float
) -> None:
    scorer, (entity, relation) = hyperbolic_scorer(name), queries()
    with torch.no_grad():
        scorer.raw_curvature.fill_(raw_curvature)
        scorer.entity.mul_(0.3)
        c = float(torch.nn.functional.softplus(scorer.raw_curvature))
        q = expected_query(scorer, entity, relation, c)
        tails = exp0(scorer.entity, c)
        distance = ball_distance(q[:, None], tails[None], c)
        bias = scorer.head_bias[entity][:, None] + scorer.tail_bias
        found = scorer.score_shared(scorer.query(entity, relation))
    torch.testing.assert_close(found, bias - distance**2, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", list(HYPERBOLIC))
def test_linear_scores_are_scaled_lorentzian_distances_of_the_same_points(name: ScorerName) -> None:
    scorer, (entity, relation) = hyperbolic_scorer(name, "linear"), queries()
    with torch.no_grad():
        c = scorer.curvature()
        point = scorer.encode(scorer.spatial(entity), relation)
        tails = scorer.spatial()
        time = torch.sqrt(1 + point.square().sum(-1)), torch.sqrt(1 + tails.square().sum(-1))
        cosh = time[0][:, None] * time[1] - point @ tails.T
        sigma = torch.nn.functional.softplus(scorer.raw_scale[relation])[:, None]
        bias = scorer.head_bias[entity][:, None] + scorer.tail_bias
        found = scorer.score_shared(scorer.query(entity, relation))
    torch.testing.assert_close(found, bias - 2 * sigma * (cosh - 1) / c)


@pytest.mark.parametrize("name", list(HYPERBOLIC))
def test_both_scores_rank_alike_without_biases(name: ScorerName) -> None:
    linear, distance = (hyperbolic_scorer(name, kind) for kind in ("linear", "distance"))
    distance.load_state_dict(linear.state_dict(), strict=False)
    ranked = []
    for scorer in (linear, distance):
        with torch.no_grad():
            scorer.tail_bias.zero_()
        ranked.append(scorer.score_shared(scorer.query(*queries())).argsort(1))
    assert torch.equal(*ranked)


def test_complex_scores_are_the_real_part_of_the_trilinear_product() -> None:
    scorer, (entity, relation) = build("ComplEx"), queries()
    values = dict(scorer.named_parameters())
    half = DIMENSION // 2
    table, wheel = (
        torch.complex(values[name][:, :half], values[name][:, half:])
        for name in ("entity", "relation")
    )
    product = (table[entity] * wheel[relation])[:, None] * table.conj()
    found = scorer.score_shared(scorer.query(entity, relation))
    torch.testing.assert_close(found, product.sum(-1).real)


def test_complex_penalty_is_the_sum_of_cubed_moduli_over_the_triples() -> None:
    scorer, (entity, relation) = build("ComplEx"), queries()
    values = dict(scorer.named_parameters())
    half = DIMENSION // 2
    moduli = {
        name: torch.hypot(values[name][:, :half], values[name][:, half:]).pow(3).sum(-1)
        for name in ("entity", "relation")
    }
    count, tails = torch.tensor([2, 1, 1, 1, 1]), torch.tensor([3, 0, 11, 5, 5, 2])
    owner = torch.repeat_interleave(torch.arange(5), count)
    heads = moduli["entity"][entity[owner]] + moduli["relation"][relation[owner]]
    expected = (heads + moduli["entity"][tails]).sum()
    torch.testing.assert_close(
        scorer.penalty(scorer.query(entity, relation), count, tails), expected
    )


def test_rescal_maps_the_head_by_its_relation_and_adds_the_tails_bias() -> None:
    scorer, (entity, relation) = build("RESCAL"), queries()
    values = dict(scorer.named_parameters())
    mapped = torch.einsum("bi,bij->bj", values["entity"][entity], values["matrix"][relation])
    expected = (mapped + values["translation"][relation]) @ values["entity"].T
    found = scorer.score_shared(scorer.query(entity, relation))
    torch.testing.assert_close(found, expected + values["tail_bias"])


def test_rescal_penalty_is_the_squared_norms_of_head_query_and_tail_over_the_triples() -> None:
    scorer, (entity, relation) = build("RESCAL"), queries()
    count, tails = torch.tensor([2, 1, 1, 1, 1]), torch.tensor([3, 0, 11, 5, 5, 2])
    owner = torch.repeat_interleave(torch.arange(5), count)
    query = scorer.query(entity, relation)
    assert isinstance(scorer, BilinearScorer)
    head, encoded = scorer.spatial(entity), scorer.encode(scorer.spatial(entity), relation)
    three = torch.stack([head[owner], encoded[owner], scorer.spatial(tails)])
    torch.testing.assert_close(scorer.penalty(query, count, tails), three.square().sum())


def test_disth_projects_a_product_that_would_leave_the_ball() -> None:
    scorer = hyperbolic_scorer("DistH")
    with torch.no_grad():
        scorer.raw_curvature.fill_(-3.0)  # c = 0.0486: the ball has radius 4.5
        for name in ("entity", "diagonal"):
            scorer.get_parameter(name)[0] = torch.tensor([9.0, 0, 0, 0, 0, 0])
        entity, relation = torch.tensor([0]), torch.tensor([0])
        query = scorer.query(entity, relation)
        point = hyperbolic.to_unit_ball(scorer.encode(scorer.spatial(entity), relation))[0]
    assert point.tolist() == pytest.approx([1 - hyperbolic.BALL_MARGIN, 0, 0, 0, 0, 0])
    assert bool(torch.isfinite(scorer.score_shared(query)).all())


def test_disth_with_a_large_curvature_keeps_products_inside_without_projection() -> None:
    scorer = hyperbolic_scorer("DistH")
    with torch.no_grad():
        scorer.raw_curvature.fill_(3.0)
        entity, relation = queries()
        point = hyperbolic.to_unit_ball(scorer.encode(scorer.spatial(entity), relation))
    assert float(point.norm(dim=-1).max()) < 1 - hyperbolic.BALL_MARGIN

"""All scoring paths agree, and query points are those of the formulas in the method page."""

from __future__ import annotations

from typing import Literal, get_args

import pytest
import torch
from torch import Tensor

from training.distillation.queries import Batch
from training.ops import hyperbolic
from training.scorers import (
    HYPERBOLIC,
    HyperbolicScorer,
    Scorer,
    ScorerName,
    build_scorer,
)
from training.scorers.bilinear import BilinearScorer

ENTITIES, RELATIONS, DIMENSION = 12, 3, 6
Kind = Literal["distance", "linear"]
KINDS: tuple[Kind, ...] = ("distance", "linear")
FAMILIES = [(name, kind) for name in HYPERBOLIC for kind in KINDS]
ALL: list[tuple[ScorerName, Kind]] = [
    *FAMILIES,
    ("ComplEx", "distance"),
    ("RESCAL", "distance"),
    ("DistMult", "distance"),
    ("QuatE", "distance"),
    ("TransE", "distance"),
    ("RotatE", "distance"),
    ("MuRE", "distance"),
]


def build(name: ScorerName, kind: Kind = "distance", spread: float = 0.4, seed: int = 1) -> Scorer:
    """A scorer in float64 whose every parameter, biases and scales too, is away from its start."""
    scorer = build_scorer(
        name,
        entities=ENTITIES,
        relations=RELATIONS,
        dimension=8 if name == "QuatE" else DIMENSION,
        score=kind,
        spread=spread,
        seed=seed,
    ).double()
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for parameter in scorer.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=0.1)
    return scorer


def hyperbolic_scorer(name: ScorerName, kind: Kind = "distance", seed: int = 1) -> HyperbolicScorer:
    scorer = build(name, kind, seed=seed)
    assert isinstance(scorer, HyperbolicScorer)
    return scorer


def queries() -> tuple[Tensor, Tensor]:
    """Five queries of both directions; two share their entity, two their relation."""
    return torch.tensor([0, 3, 3, 7, 11]), torch.tensor([0, 1, 4, 5, 5])


def test_every_scorer_is_tried_here() -> None:
    assert {name for name, _ in ALL} == set(get_args(ScorerName))


# The paths


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_shared_candidates_score_as_among_all_entities(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    query, rows = scorer.query(*queries()), torch.tensor([4, 0, 4, 11])
    every = scorer.score_shared(query)
    assert every.shape == (5, ENTITIES)
    torch.testing.assert_close(scorer.score_shared(query, rows), every[:, rows])


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_scores_are_the_same_without_a_gradient_a_few_queries_at_a_time(
    name: ScorerName, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = build(name, kind)
    query = scorer.query(*queries())
    expected = scorer.score_shared(query)
    monkeypatch.setattr("training.scorers.base._CPU_SCORES", 2 * ENTITIES)
    with torch.no_grad():
        torch.testing.assert_close(scorer.score_shared(query), expected)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_own_candidates_score_as_among_all_entities(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    query = scorer.query(*queries())
    rows = torch.randint(ENTITIES, (5, 4), generator=torch.Generator().manual_seed(2))
    expected = scorer.score_shared(query).gather(1, rows)
    torch.testing.assert_close(scorer.score_own(query, rows), expected)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_pairs_score_as_among_all_entities(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    query = scorer.query(*queries())
    owner, rows = torch.tensor([0, 0, 2, 4]), torch.tensor([3, 0, 11, 5])
    expected = scorer.score_shared(query)[owner, rows]
    torch.testing.assert_close(scorer.score_pairs(query, owner, rows), expected)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_a_query_scores_the_same_alone_and_in_a_batch(name: ScorerName, kind: Kind) -> None:
    scorer, (entity, relation) = build(name, kind), queries()
    together = scorer.score_shared(scorer.query(entity, relation))
    alone = scorer.score_shared(scorer.query(entity[2:3], relation[2:3]))
    torch.testing.assert_close(alone[0], together[2])


@pytest.mark.parametrize("rows", [3, 50])
@pytest.mark.parametrize(("name", "kind"), ALL)
def test_few_and_many_own_candidates_score_alike(name: ScorerName, kind: Kind, rows: int) -> None:
    scorer = build(name, kind)
    query, generator = scorer.query(*queries()), torch.Generator().manual_seed(4)
    own = torch.randint(ENTITIES, (5, rows), generator=generator)
    found = scorer.score_own(query, own)
    torch.testing.assert_close(found, scorer.score_shared(query).gather(1, own))
    entity = scorer.get_parameter("entity")
    slopes = [
        torch.autograd.grad(scores.square().sum(), entity)[0]
        for scores in (found, scorer.score_shared(scorer.query(*queries())).gather(1, own))
    ]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_float32_scores_are_those_of_float64(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    exact = scorer.score_shared(scorer.query(*queries()))
    single = scorer.float()
    found = single.score_shared(single.query(*queries()))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_cross_entropy_and_its_gradient_are_torchs_own_over_single_triples(
    name: ScorerName, kind: Kind
) -> None:
    scorer, (entity, relation) = build(name, kind).float(), queries()
    owner, target = torch.tensor([0, 0, 1, 2, 3, 4, 4]), torch.tensor([3, 5, 0, 11, 2, 0, 1])
    batch = Batch(torch.arange(5), entity, relation, torch.bincount(owner), owner, target)
    query = scorer.query(entity, relation)
    expected = torch.nn.functional.cross_entropy(scorer.score_shared(query)[owner], target)
    found = scorer.cross_entropy(scorer.query(entity, relation), batch)
    torch.testing.assert_close(found, expected)
    weights = list(scorer.parameters())
    slopes = [torch.autograd.grad(loss, weights, allow_unused=True) for loss in (found, expected)]
    for left, right in zip(*slopes, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


# The formulas, in an independent ball of curvature -c


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


def test_bilinear_cross_entropy_is_that_of_the_scores() -> None:
    scorer, (entity, relation) = build("RESCAL"), queries()
    batch = Batch(
        index=torch.arange(5),
        entity=entity,
        relation=relation,
        count=torch.tensor([2, 1, 1, 1, 1]),
        owner=torch.tensor([0, 0, 1, 2, 3, 4]),
        target=torch.tensor([3, 0, 11, 5, 5, 2]),
    )
    query = scorer.query(entity, relation)
    scores = scorer.score_shared(query)[batch.owner]
    expected = torch.nn.functional.cross_entropy(scores, batch.target)
    torch.testing.assert_close(scorer.cross_entropy(query, batch), expected)


# Single scorers


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


# Values and gradients


@pytest.mark.parametrize("spread", [1e-3, 20.0])
@pytest.mark.parametrize(("name", "kind"), FAMILIES)
def test_scores_and_gradients_are_finite_at_the_start_and_far_out(
    name: ScorerName, kind: Kind, spread: float
) -> None:
    scorer = build_scorer(
        name,
        entities=ENTITIES,
        relations=RELATIONS,
        dimension=8 if name == "QuatE" else DIMENSION,
        score=kind,
        spread=spread,
        seed=3,
    )
    scores = scorer.score_shared(scorer.query(*queries()))
    assert bool(scores.isfinite().all())
    scores.mean().backward()
    for parameter, value in scorer.named_parameters():
        assert value.grad is not None, parameter
        assert bool(value.grad.isfinite().all()), parameter


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_every_parameter_moves_the_scores(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    entity = torch.arange(ENTITIES)
    relation = torch.arange(ENTITIES) % (2 * RELATIONS)
    scores = scorer.score_shared(scorer.query(entity, relation))
    weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(5)).double()
    (scores * weights).sum().backward()
    for parameter, value in scorer.named_parameters():
        assert value.grad is not None, parameter
        assert (
            float(value.grad.abs().reshape(len(value) if value.dim() else 1, -1).sum(1).min()) > 0
        )


def test_blocks_of_zeros_have_a_finite_gradient() -> None:
    blocks = torch.zeros(1, 4, requires_grad=True)
    hyperbolic.rotate(blocks, torch.ones(1, 4)).sum().backward()
    assert blocks.grad is not None
    assert bool(blocks.grad.isfinite().all())


# Initial values


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_equal_seeds_give_equal_values_and_others_give_others(name: ScorerName, kind: Kind) -> None:
    one, same, other = (build(name, kind, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.get_parameter("entity"), same.get_parameter("entity"))
    assert not torch.equal(one.get_parameter("entity"), other.get_parameter("entity"))


def test_spread_is_the_standard_deviation_of_the_initial_entities() -> None:
    scorer = build_scorer(
        "TransH", entities=2000, relations=1, dimension=8, score="linear", spread=0.05, seed=1
    )
    assert float(scorer.get_parameter("entity").detach().std()) == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize(("start", "deviation"), [("uniform", 3**-0.5), ("normal", 1e-3)])
def test_rotations_start_as_the_recipe_says(
    start: Literal["uniform", "normal"], deviation: float
) -> None:
    scorer = build_scorer(
        "RotH",
        entities=2,
        relations=500,
        dimension=8,
        score="distance",
        spread=1e-3,
        rotations=start,
        seed=1,
    )
    assert float(scorer.get_parameter("rotation").detach().std()) == pytest.approx(
        deviation, rel=0.03
    )


# Frozen teachers


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_a_frozen_scorer_scores_as_before_along_every_path(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    expected = scorer.score_shared(scorer.query(*queries())).detach()
    scorer.freeze()
    query = scorer.query(*queries())
    rows = torch.tensor([[0, 4], [3, 3], [1, 2], [11, 0], [5, 6]])
    own, owner = expected.gather(1, rows), torch.arange(5)
    torch.testing.assert_close(scorer.score_shared(query), expected)
    torch.testing.assert_close(scorer.score_shared(query, rows[:, 0]), expected[:, rows[:, 0]])
    torch.testing.assert_close(scorer.score_own(query, rows), own)
    torch.testing.assert_close(scorer.score_pairs(query, owner, rows[:, 1]), own[:, 1])
    assert not scorer.score_own(query, rows).requires_grad
    assert not any(parameter.requires_grad for parameter in scorer.parameters())


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_a_frozen_scorer_moves_as_a_whole(name: ScorerName, kind: Kind) -> None:
    scorer = build(name, kind)
    scorer.freeze()
    expected = scorer.score_shared(scorer.query(*queries()))
    names = set(scorer.state_dict())
    single = scorer.float()
    found = single.score_shared(single.query(*queries()))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert names == set(build(name, kind).state_dict()), "freezing adds nothing to a checkpoint"

"""Every step of MulDE by hand: three candidates, two teachers, one query (docs: method)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.distillation.losses import binary_cross_entropy, senior_loss, soft_label_loss
from training.distillation.queries import Batch
from training.distillation.senior import Senior, attention_temperature

JUNIOR = [0.0, 1.0, 2.0]
TEACHERS = [[1.0, 0.0, -1.0], [0.0, 2.0, 4.0]]
WEIGHTS = [math.log(3), 0.0]  # sigmoid: 3/4 and 1/2
TAU = 2.0


def softmax(values: list[float]) -> list[float]:
    """By the definition, in Python floats."""
    total = sum(map(math.exp, values))
    return [math.exp(value) / total for value in values]


def divergence(left: list[float], right: list[float]) -> float:
    """KL(softmax(left) || softmax(right))."""
    pairs = zip(softmax(left), softmax(right), strict=True)
    return sum(p * math.log(p / q) for p, q in pairs)


@pytest.fixture
def senior() -> Senior:
    """A Senior whose W row 0 is WEIGHTS; row 1 is another relation's."""
    built = Senior(relations=1, teachers=2)
    with torch.no_grad():
        built.weight[0] = torch.tensor(WEIGHTS)
    return built


def opinions() -> torch.Tensor:
    """Teacher scores [B=1, M=2, K=3]."""
    return torch.tensor([TEACHERS])


def test_weights_start_at_ones_for_both_directions_of_each_relation() -> None:
    assert torch.equal(Senior(relations=3, teachers=2).weight, torch.ones(6, 2))


def test_scaling_multiplies_by_the_sigmoid_of_the_relations_weight(senior: Senior) -> None:
    scaled = senior.scaled(opinions(), torch.tensor([0]))
    expected = torch.tensor([[[0.75, 0.0, -0.75], [0.0, 1.0, 2.0]]])
    torch.testing.assert_close(scaled, expected)


def test_attention_is_the_softmax_of_negative_divergence_over_temperature(senior: Senior) -> None:
    scaled = torch.tensor([[[0.75, 0.0, -0.75], [0.0, 1.0, 2.0]]])
    attention = senior.contrast(scaled, torch.tensor([JUNIOR]), TAU)
    first = divergence(JUNIOR, [0.75, 0.0, -0.75])
    second = divergence(JUNIOR, [0.0, 1.0, 2.0])
    assert second == 0.0
    assert first == pytest.approx(0.87699, abs=1e-5)
    expected = softmax([-first / TAU, 0.0])
    assert attention[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_soft_label_scores_are_the_attention_weighted_sum_of_scaled_scores(senior: Senior) -> None:
    blended = senior(opinions(), torch.tensor([JUNIOR]), torch.tensor([0]), TAU)
    a, b = softmax([-divergence(JUNIOR, [0.75, 0.0, -0.75]) / TAU, 0.0])
    assert blended[0].tolist() == pytest.approx([a * 0.75, b * 1.0, -a * 0.75 + b * 2.0], abs=1e-6)


def test_soft_label_loss_is_the_scaled_divergence_of_junior_from_senior() -> None:
    blended, temperature = [0.2, 0.6, 1.1], 2.0
    loss = soft_label_loss(torch.tensor([blended]), torch.tensor([JUNIOR]), temperature)
    halves = [[value / temperature for value in row] for row in (blended, JUNIOR)]
    assert loss.item() == pytest.approx(4.0 * divergence(*halves), abs=1e-6)


def test_senior_loss_is_the_mean_binary_cross_entropy_against_the_one_hot_target() -> None:
    blended = [0.2, 0.6, 1.1]
    loss = senior_loss(torch.tensor([blended]), torch.tensor([[0.0, 0.0, 1.0]]))
    sigmoid = [1 / (1 + math.exp(-value)) for value in blended]
    terms = [math.log(1 - sigmoid[0]), math.log(1 - sigmoid[1]), math.log(sigmoid[2])]
    assert loss.item() == pytest.approx(-sum(terms) / 3, abs=1e-6)


def test_gradient_of_the_relations_weights_matches_finite_differences(senior: Senior) -> None:
    def loss_at(weights: list[float]) -> float:
        sigmoid = [1 / (1 + math.exp(-w)) for w in weights]
        pairs = zip(sigmoid, TEACHERS, strict=True)
        scaled = [[gate * score for score in row] for gate, row in pairs]
        attention = softmax([-divergence(JUNIOR, row) / TAU for row in scaled])
        blended = [
            sum(a * row[k] for a, row in zip(attention, scaled, strict=True)) for k in range(3)
        ]
        labels = [0.0, 0.0, 1.0]
        pieces = zip(blended, labels, strict=True)
        return sum(math.log(1 + math.exp(s)) - y * s for s, y in pieces) / 3

    blended = senior(opinions(), torch.tensor([JUNIOR]), torch.tensor([0]), TAU)
    senior_loss(blended, torch.tensor([[0.0, 0.0, 1.0]])).backward()
    gradient, step = senior.weight.grad, 1e-6
    assert gradient is not None
    for place in range(2):
        up, down = list(WEIGHTS), list(WEIGHTS)
        up[place] += step
        down[place] -= step
        slope = (loss_at(up) - loss_at(down)) / (2 * step)
        assert gradient[0, place].item() == pytest.approx(slope, abs=1e-6)
    assert torch.equal(gradient[1], torch.zeros(2)), "another relation's row stays"


def test_without_scaling_the_teachers_scores_pass_unchanged() -> None:
    plain = Senior(relations=1, teachers=2, scaling=False)
    assert torch.equal(plain.scaled(opinions(), torch.tensor([0])), opinions())


def test_without_attention_all_teachers_weigh_the_same() -> None:
    plain = Senior(relations=1, teachers=2, attention=False)
    weights = plain.contrast(opinions(), torch.tensor([JUNIOR]), TAU)
    assert weights.tolist() == [[0.5, 0.5]]


def test_attention_temperature_grows_e_fold_every_five_epochs() -> None:
    found = [attention_temperature(epoch) for epoch in (0, 4, 5, 15)]
    assert found == pytest.approx([1.0, 1.0, math.e, math.e**3])


def test_hard_loss_is_the_mean_over_target_and_negatives() -> None:
    batch = _batch(counts=[1])
    loss = binary_cross_entropy(torch.tensor([0.0]), torch.tensor([[0.0, math.log(3)]]), batch)
    expected = (math.log(2) + math.log(2) + math.log(4)) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_hard_loss_of_grouped_triples_equals_the_mean_over_single_triples() -> None:
    positive = torch.tensor([0.3, -0.2, 0.9])
    negative = torch.tensor([[0.1, -0.4], [0.7, 0.2]])
    grouped = binary_cross_entropy(positive, negative, _batch(counts=[2, 1]))
    rows = [(0, 0), (1, 0), (2, 1)]
    single = [
        binary_cross_entropy(positive[[p]], negative[[q]], _batch(counts=[1])) for p, q in rows
    ]
    assert grouped.item() == pytest.approx(np.mean([s.item() for s in single]), abs=1e-6)


def test_adversarial_weights_follow_the_softmax_of_the_negatives_scores() -> None:
    negative = [0.0, math.log(3)]  # weights 1/4 and 3/4
    loss = binary_cross_entropy(
        torch.tensor([0.0]),
        torch.tensor([negative]),
        _batch(counts=[1]),
        negative_weight=1.0,
        adversarial_temperature=1.0,
    )
    expected = (math.log(2) + 0.25 * math.log(2) + 0.75 * math.log(4)) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def _batch(counts: list[int]) -> Batch:
    """A batch of which only the counts matter."""
    count = torch.tensor(counts)
    none = torch.zeros(len(counts), dtype=torch.int64)
    owner = torch.repeat_interleave(torch.arange(len(counts)), count)
    return Batch(none, none, none, count, owner, torch.zeros_like(owner))

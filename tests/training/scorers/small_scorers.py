"""Small scorers of every family in float64, and the queries that their tests ask."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from training.distillation.queries import Batch
from training.scorers import HYPERBOLIC, HyperbolicScorer, Scorer, ScorerName, build_scorer

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


def fresh(name: ScorerName, kind: Kind, spread: float, seed: int) -> Scorer:
    """A scorer at its start."""
    return build_scorer(
        name,
        entities=ENTITIES,
        relations=RELATIONS,
        dimension=8 if name == "QuatE" else DIMENSION,
        score=kind,
        spread=spread,
        seed=seed,
    )


def build(name: ScorerName, kind: Kind = "distance", spread: float = 0.4, seed: int = 1) -> Scorer:
    """A scorer in float64 whose every parameter, biases and scales too, is away from its start."""
    scorer = fresh(name, kind, spread, seed).double()
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


def batch_of(entity: Tensor, relation: Tensor) -> Batch:
    """The five queries with seven targets."""
    owner, target = torch.tensor([0, 0, 1, 2, 3, 4, 4]), torch.tensor([3, 5, 0, 11, 2, 0, 1])
    return Batch(torch.arange(5), entity, relation, torch.bincount(owner), owner, target)


def queries() -> tuple[Tensor, Tensor]:
    """Five queries of both directions; two share their entity, two their relation."""
    return torch.tensor([0, 3, 3, 7, 11]), torch.tensor([0, 1, 4, 5, 5])

"""Trainable scorers, by the name that recipes use."""

from __future__ import annotations

from typing import Literal

import torch

from training.scorers.base import HyperbolicScorer, ScoreKind, Scorer, Start
from training.scorers.bilinear import BilinearScorer
from training.scorers.complex import ComplEx
from training.scorers.disth import DistH
from training.scorers.rescal import RESCAL
from training.scorers.roth import RefH, RotH
from training.scorers.transh import TransH

ScorerName = Literal["RotH", "RefH", "DistH", "TransH", "ComplEx", "RESCAL"]

BILINEAR: dict[ScorerName, type[ComplEx | RESCAL]] = {"ComplEx": ComplEx, "RESCAL": RESCAL}

HYPERBOLIC: dict[ScorerName, type[HyperbolicScorer]] = {
    "RotH": RotH,
    "RefH": RefH,
    "DistH": DistH,
    "TransH": TransH,
}

__all__ = [
    "BILINEAR",
    "HYPERBOLIC",
    "RESCAL",
    "BilinearScorer",
    "ComplEx",
    "HyperbolicScorer",
    "ScoreKind",
    "Scorer",
    "ScorerName",
    "Start",
    "build_scorer",
]


def build_scorer(
    name: ScorerName,
    *,
    entities: int,
    relations: int,
    dimension: int,
    score: ScoreKind,
    spread: float = 1e-3,
    rotations: Start = "uniform",
    seed: int,
) -> Scorer:
    """A freshly initialised scorer; the same arguments give the same values."""
    generator = torch.Generator().manual_seed(seed)
    if name in BILINEAR:
        family = BILINEAR[name]
        return family(entities, relations, dimension, spread=spread, generator=generator)
    return HYPERBOLIC[name](
        entities,
        relations,
        dimension,
        score=score,
        spread=spread,
        rotations=rotations,
        generator=generator,
    )

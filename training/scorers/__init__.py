"""Trainable scorers, by the name that recipes use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from training.scorers.base import HyperbolicScorer, ScoreKind, Scorer, Start
from training.scorers.bilinear import BilinearScorer
from training.scorers.complex import ComplEx
from training.scorers.disth import DistH
from training.scorers.distmult import DistMult
from training.scorers.quate import QuatE
from training.scorers.rescal import RESCAL
from training.scorers.roth import RefH, RotH
from training.scorers.squared_distance import MuRE, RotatE, TransE
from training.scorers.transh import TransH

ScorerName = Literal[
    "RotH",
    "RefH",
    "DistH",
    "TransH",
    "ComplEx",
    "RESCAL",
    "DistMult",
    "QuatE",
    "TransE",
    "RotatE",
    "MuRE",
]

IMPORTED = ("DistMult", "QuatE", "TransE", "RotatE", "MuRE")
"""Scorers of models that were trained elsewhere; a recipe cannot train them."""

BILINEAR: dict[str, Callable[..., BilinearScorer]] = {
    "ComplEx": ComplEx,
    "RESCAL": RESCAL,
    "DistMult": DistMult,
    "QuatE": QuatE,
    "TransE": TransE,
    "RotatE": RotatE,
    "MuRE": MuRE,
}

HYPERBOLIC: dict[ScorerName, type[HyperbolicScorer]] = {
    "RotH": RotH,
    "RefH": RefH,
    "DistH": DistH,
    "TransH": TransH,
}

__all__ = [
    "BILINEAR",
    "HYPERBOLIC",
    "IMPORTED",
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

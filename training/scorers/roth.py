"""RotH and RefH: a rotation or reflection between translations."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from training.ops import hyperbolic
from training.scorers.base import HyperbolicScorer


class RotH(HyperbolicScorer):
    """Query point ``Rot(theta_r)( exp0(h) (+) exp0(r') ) (+) exp0(r)``.

    Source: Chami et al. 2020, arXiv:2005.00545. One curvature for the whole model, as in MulDE's
    code, instead of one per relation: with a curvature per relation no table of entities serves
    all relations.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        shape = (2 * self.num_relations, self.dimension)
        self.rotation = self.blocks(*shape)
        self.before = self.normal(*shape)
        self.translation = self.normal(*shape)

    def encode(self, spatial: Tensor, relation: Tensor) -> Tensor:
        """Query points [B, D]."""
        curvature = self.curvature()
        before = hyperbolic.expmap0(self.before[relation], curvature)
        after = hyperbolic.expmap0(self.translation[relation], curvature)
        turned = hyperbolic.rotate(self.rotation[relation], hyperbolic.add(spatial, before))
        return hyperbolic.add(turned, after)


class RefH(HyperbolicScorer):
    """Query point ``Ref(theta_r) exp0(h) (+) exp0(r)``.

    Source: Chami et al. 2020, arXiv:2005.00545; one curvature for the whole model.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        shape = (2 * self.num_relations, self.dimension)
        self.rotation = self.blocks(*shape)
        self.translation = self.normal(*shape)

    def encode(self, spatial: Tensor, relation: Tensor) -> Tensor:
        """Query points [B, D]."""
        after = hyperbolic.expmap0(self.translation[relation], self.curvature())
        return hyperbolic.add(hyperbolic.reflect(self.rotation[relation], spatial), after)

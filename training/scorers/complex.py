"""ComplEx: a bilinear teacher of another family than the hyperbolic ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.losses import LinearCrossEntropy
from training.queries import Batch
from training.scorers.base import Scorer


@dataclass(frozen=True)
class Product:
    """Encoded queries: h * r as complex numbers, and the moduli of h and r for N3."""

    real: Tensor
    imaginary: Tensor
    moduli: Tensor

    @property
    def joined(self) -> Tensor:
        """[B, D]: real and imaginary parts side by side."""
        return torch.cat([self.real, self.imaginary], -1)


class ComplEx(Scorer):
    """``score(h, r, t) = Re <h * r, conj(t)>`` over D / 2 complex numbers.

    Each relation has a reciprocal of its own, so no conjugate relation is needed. Meant for
    1-vs-all cross entropy with the N3 penalty ``|h|^3 + |r|^3 + |t|^3``.

    Args:
        entities, relations: E and R.
        dimension: D, real numbers per entity; even.
        spread: standard deviation of the initial values.
        generator: source of the initial values.

    Source: Trouillon et al. 2016, arXiv:1606.06357; N3 and reciprocals by Lacroix et al. 2018,
    arXiv:1806.07297.
    """

    def __init__(
        self,
        entities: int,
        relations: int,
        dimension: int,
        *,
        spread: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_entities, self.num_relations, self.dimension = entities, relations, dimension
        self.kind = "bilinear"
        shapes = (entities, dimension), (2 * relations, dimension)
        draws = (torch.randn(*shape, generator=generator) * spread for shape in shapes)
        self.entity, self.relation = map(nn.Parameter, draws)
        for name in ("head_bias", "tail_bias"):  # it has none; a table has columns for them
            self.register_buffer(name, torch.zeros(entities), persistent=False)

    def curvature(self) -> Tensor:
        """1: its points are read as spatial coordinates where nearness is asked for."""
        return torch.ones(())

    def spatial(self, rows: Tensor | None = None) -> Tensor:
        """The entities' numbers."""
        return self.entity if rows is None else self.entity[rows]

    def scale(self, relation: Tensor) -> Tensor:
        """Ones: nothing scales a product."""
        return torch.ones_like(relation, dtype=self.entity.dtype)

    def product(
        self, spatial: Tensor, relation: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The score itself; a candidate's excess plays no part."""
        joined = self._multiply(spatial, relation).joined
        none = torch.zeros_like(slope)
        return slope.unsqueeze(-1) * joined, none, none

    def query(self, entity: Tensor, relation: Tensor) -> Product:
        """h * r of each query."""
        return self._multiply(self.entity[entity], relation)

    def _multiply(self, head: Tensor, relation: Tensor) -> Product:
        head_real, head_imaginary = head.chunk(2, -1)
        real, imaginary = self.relation[relation].chunk(2, -1)
        moduli = torch.stack([_modulus(head_real, head_imaginary), _modulus(real, imaginary)], -1)
        return Product(
            head_real * real - head_imaginary * imaginary,
            head_real * imaginary + head_imaginary * real,
            moduli,
        )

    def score_shared(self, query: Product, rows: Tensor | None = None) -> Tensor:
        """[B, N], one matrix product."""
        table = self.entity if rows is None else self.entity[rows]
        return query.joined @ table.T

    def score_own(self, query: Product, rows: Tensor) -> Tensor:
        """[B, K]."""
        return torch.bmm(self.entity[rows], query.joined.unsqueeze(-1)).squeeze(-1)

    def score_pairs(self, query: Product, owner: Tensor, rows: Tensor) -> Tensor:
        """[P]."""
        return (query.joined[owner] * self.entity[rows]).sum(-1)

    def cross_entropy(self, query: Product, batch: Batch) -> Tensor:
        """The same as the base's, without forming the matrix of scores."""
        loss: Tensor = LinearCrossEntropy.apply(query.joined, self.entity, batch)  # type: ignore[no-untyped-call]
        return loss

    def penalty(self, query: Product, count: Tensor, rows: Tensor) -> Tensor:
        """N3: the sum of cubed moduli of head, relation and tail over the triples."""
        heads = (query.moduli.pow(3).sum((-2, -1)) * count).sum()
        return heads + _modulus(*self.entity[rows].chunk(2, -1)).pow(3).sum()


def _modulus(real: Tensor, imaginary: Tensor) -> Tensor:
    return torch.sqrt(real.square() + imaginary.square() + 1e-20)

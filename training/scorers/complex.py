"""ComplEx: a bilinear teacher of another family than the hyperbolic ones."""

from __future__ import annotations

import torch
from torch import Tensor

from training.scorers.bilinear import BilinearQuery, BilinearScorer


class ComplEx(BilinearScorer):
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

    def encode(self, head: Tensor, relation: Tensor) -> Tensor:
        """h * r: real parts [B, D / 2] beside imaginary ones."""
        head_real, head_imaginary = head.chunk(2, -1)
        real, imaginary = self.relation[relation].chunk(2, -1)
        turned = head_real * imaginary + head_imaginary * real
        return torch.cat([head_real * real - head_imaginary * imaginary, turned], -1)

    def penalty(self, query: BilinearQuery, count: Tensor, rows: Tensor) -> Tensor:
        """N3: the sum of cubed moduli of head, relation and tail over the triples."""
        both = torch.stack([query.head, self.relation[query.relation]])
        heads = (_cubed_moduli(both).sum(0) * count).sum()
        return heads + _cubed_moduli(self.entity[rows]).sum()


def _cubed_moduli(vectors: Tensor) -> Tensor:
    """[.., D] -> [..]: the sum over the D / 2 complex numbers of their moduli cubed."""
    real, imaginary = vectors.chunk(2, -1)
    return (real.square() + imaginary.square() + 1e-20).pow(1.5).sum(-1)
